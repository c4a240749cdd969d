import { describe, expect, it } from "vitest";
import { at, conflicts, MASK, patched, patchOf, put, shownWith, updatesOf } from "./document";

const base = { seconds: 30, limits: { rate: 5, burst: 10 }, models: ["small"], key: MASK };

describe("a change of the document", () => {
  it("is a merge patch of what differs, null for what was taken out", () => {
    const doc = { limits: { rate: 7, burst: 10 }, models: ["small", "large"], key: MASK, fresh: { deep: 1 } };
    const patch = patchOf(base, doc);
    expect(patch).toEqual({ seconds: null, limits: { rate: 7 }, models: ["small", "large"], fresh: { deep: 1 } });
    expect(patched(base, patch)).toEqual(doc);
  });
  it("is nothing when nothing differs", () => expect(patchOf(base, structuredClone(base))).toEqual({}));
  it("goes on top of what somebody else made of it", () => {
    const mine = put(base, ["limits", "rate"], 7);
    const theirs = put(put(base, ["seconds"], 60), ["limits", "rate"], 9);
    expect(patched(theirs, patchOf(base, mine))).toEqual({ ...base, seconds: 60, limits: { rate: 7, burst: 10 } });
    expect(conflicts(base, mine, theirs)).toEqual(["limits.rate"]);
    expect(conflicts(base, mine, put(theirs, ["limits", "rate"], 7))).toEqual([]);
  });
});

describe("values by their path", () => {
  it("are read and put, and a table that got empty goes", () => {
    expect(at(put({}, ["a", "b"], 1), ["a", "b"])).toBe(1);
    expect(put({ a: { b: 1 } }, ["a", "b"], undefined)).toEqual({});
    expect(at({ a: "text" }, ["a", "length"])).toBeUndefined();
  });
});

describe("secrets", () => {
  const typed = { key: { path: ["key"], value: "hunter-two" } };
  it("are sent beside the document and shown nowhere", () => {
    expect(updatesOf(base, base, typed)).toEqual({ key: "hunter-two" });
    expect(JSON.stringify(shownWith(base, typed))).not.toContain("hunter");
  });
  it("may be named instead", () => {
    const named = { key: { path: ["key"], value: "secret:openai/key" } };
    expect(updatesOf(base, base, named)).toEqual({ key: { $secret: "openai/key" } });
    expect(shownWith(base, named).key).toBe("secret:openai/key");
  });
});
