import { describe, expect, it } from "vitest";
import { lost } from "./lost";

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
  it("is nothing for an agent without state", () =>
    expect(lost({ choice_needed: false, state_sentence: "", choices: [] }, null)).toBe(""));
});
