import { describe, expect, it } from "vitest";
import { became, foundAgain, isOverRun, next, type Run, stateOfStatus, tally } from "./run";

const run = (change: Partial<Run> = {}): Run => ({
  items: ["A", "B", "C", "D"].map((agent) => ({ agent, from: "1.0.0", to: "1.1.0", state: "waiting" })),
  atOnce: 2,
  stopOnFailure: true,
  strategy: "blue-green",
  reason: "planned",
  ...change,
});
const names = (items: { agent: string }[]) => items.map((item) => item.agent);

describe("several upgrades", () => {
  it("begin no more at once than was said", () => {
    let now = run();
    expect(names(next(now))).toEqual(["A", "B"]);
    now = became(became(now, "A", { state: "asking" }), "B", { state: "running", upgrade: "upg-1" });
    expect(next(now)).toEqual([]);
    expect(names(next(became(now, "B", { state: "done" })))).toEqual(["C"]);
  });

  it("leave out what has not begun after the first failure, and let what runs go on", () => {
    const now = became(became(run(), "A", { state: "running" }), "B", { state: "failed", words: "rolled back" });
    expect(now.items.map((item) => item.state)).toEqual(["running", "failed", "left_out", "left_out"]);
    expect(isOverRun(now)).toBe(false);
    expect(isOverRun(became(now, "A", { state: "done" }))).toBe(true);
  });

  it("go on after a failure when that was asked for", () => {
    const now = became(run({ stopOnFailure: false }), "A", { state: "failed" });
    expect(names(next(now))).toEqual(["B", "C"]);
  });

  it("begin nothing by themselves after the page was reloaded", () => {
    const now = foundAgain(became(became(run(), "A", { state: "asking" }), "B", { state: "running" }));
    expect(now.items.map((item) => item.state)).toEqual(["failed", "running", "left_out", "left_out"]);
    expect(next(now)).toEqual([]);
  });

  it("are counted in words", () =>
    expect(tally(became(became(run(), "A", { state: "done" }), "B", { state: "running" }))).toBe(
      "1 done, 1 under way, 2 to come",
    ));
});

describe("what a status makes of an upgrade", () => {
  it.each([
    ["completed", "done"],
    ["rolled_back", "failed"],
    ["cancelled", "failed"],
    ["failed", "failed"],
    ["queued", "running"],
    ["baking", "running"],
    ["paused", "running"],
  ])("%s is %s", (status, state) => expect(stateOfStatus(status)).toBe(state));
});
