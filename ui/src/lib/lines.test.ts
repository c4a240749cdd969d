import { describe, expect, it } from "vitest";
import { asLines, changedKeys, foreseen, same, sidesOf } from "./lines";

describe("two sets of values", () => {
  const before = { limits: { seconds: 30, burst: 5 }, models: ["a"], empty: {} };
  it("differ by dotted keys, whatever the order of their keys", () => {
    expect(changedKeys(before, { empty: {}, models: ["a"], limits: { burst: 5, seconds: 30 } })).toEqual([]);
    expect(changedKeys(before, { limits: { seconds: 60 }, models: ["a", "b"], empty: {}, fresh: null })).toEqual([
      "fresh",
      "limits.burst",
      "limits.seconds",
      "models",
    ]);
  });
  it("are lines in the order of the keys", () => {
    expect(asLines(before)).toBe('empty: {}\nlimits.burst: 5\nlimits.seconds: 30\nmodels: ["a"]');
    expect(asLines(before, new Set(["limits.burst"]))).toBe("limits.burst: 5");
  });
  it("say a text of several lines as several lines", () => {
    expect(asLines({ prompt: "be kind\nbe short" })).toBe("prompt: |\n  be kind\n  be short");
  });
});

describe("what the server says changed", () => {
  it("has a side without what was not there", () => {
    expect(sidesOf({ a: { old: null, new: 1 }, b: { old: false, new: null }, c: { old: 0, new: "" } })).toEqual({
      before: { b: false, c: 0 },
      after: { a: 1, c: "" },
    });
  });
});

describe("sameness", () => {
  it("looks into lists and tables", () => {
    expect([
      same([{ a: 1 }], [{ a: 1 }]),
      same([1], [1, 2]),
      same({ a: undefined }, { b: undefined }),
      same(null, {}),
    ]).toEqual([true, false, false, false]);
  });
});

describe("what will stand there", () => {
  it("is what lies below where a key is taken out, and what was there where something else counts", () => {
    const before = { seconds: 60, model: "large", quiet: true, limits: { rate: 5 } };
    const after = { model: "small", limits: { rate: 7 } };
    const changes = {
      seconds: { old: 60, new: 30 },
      "limits.rate": { old: 5, new: 7 },
      quiet: { old: true, new: null },
    };
    expect(foreseen(before, after, changes)).toEqual({ seconds: 30, model: "large", "limits.rate": 7 });
  });
});
