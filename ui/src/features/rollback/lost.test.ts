import { describe, expect, it } from "vitest";
import { asked, lost, outcome } from "./lost";

const twoWay = {
  choice_needed: false,
  state_sentence: "both write schema 1",
  choices: [
    { state: "keep" as const, set_aside: 0 },
    { state: "restore" as const, set_aside: 214 },
  ],
};

describe("what a rollback loses", () => {
  it("is nothing when the state is kept over a door that leads both ways", () => {
    expect(lost(twoWay, null)).toBe("");
    expect(lost(twoWay, "keep")).toBe("");
  });
  it("is what was written since a snapshot that is put back", () =>
    expect(lost(twoWay, "restore")).toContain("214 records"));
  it("is nothing when nothing was written since", () =>
    expect(lost({ ...twoWay, choices: [{ state: "restore", set_aside: 0 }] }, "restore")).toBe(""));
  it("is told when the older version cannot read what is kept", () =>
    expect(lost({ ...twoWay, choice_needed: true, state_sentence: "schema 2 is not read" }, "keep")).toContain(
      "schema 2 is not read",
    ));
  it("is something when nobody can count what was written since", () =>
    expect(lost({ ...twoWay, choices: [{ state: "restore", set_aside: null }] }, "restore")).toContain(
      "nobody can count",
    ));
  it("is nothing for an agent without state", () =>
    expect(lost({ choice_needed: false, state_sentence: "", choices: [] }, null)).toBe(""));
});

describe("a choice", () => {
  const counted = { state: "convert" as const, possible: true, kept: 0, converted: 1214, set_aside: 0 };
  it("says what becomes of how many records", () =>
    expect(outcome(counted)).toBe("Keep and convert: 0 kept, 1,214 converted, 0 set aside"));
  it("says that it is not possible, or that nobody can count, instead of numbers that are none", () => {
    const unknown = { kept: null, converted: null, set_aside: null };
    expect(outcome({ ...unknown, state: "restore", possible: false })).toBe("Restore: not possible");
    expect(outcome({ ...unknown, state: "keep", possible: true })).toBe("Keep: nobody can count the records");
  });
  it("that converts is asked for as one that keeps", () => expect(asked("convert")).toBe("keep"));
});
