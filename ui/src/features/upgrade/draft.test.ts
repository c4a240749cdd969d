import { describe, expect, it } from "vitest";
import { backWhen, bodyOf, commandOf, FRESH, missing, passes, sharesOf } from "./draft";

describe("shares", () => {
  it.each([
    ["25, 50, 100", [25, 50, 100]],
    ["10% 100%", [10, 100]],
    ["50, 25, 100", null],
    ["25, 50", null],
    ["0, 100", null],
    ["a, 100", null],
    ["", null],
  ])("%s are %j", (text, shares) => expect(sharesOf(text)).toEqual(shares));
});

describe("a step", () => {
  it("says what is missing, and nothing once it is there", () => {
    expect(missing("review", FRESH, true)).toContain("read what breaks");
    expect(missing("review", { ...FRESH, read: true }, true)).toBe("");
    expect(missing("strategy", { ...FRESH, shares: "50, 40" }, false)).toContain("grow");
    expect(missing("strategy", { ...FRESH, strategy: "rolling", batch: "half" }, false)).toContain("25%");
    expect(missing("schedule", { ...FRESH, reason: "x", at: "2020-01-01T00:00" }, false)).toContain("past");
    expect(missing("schedule", FRESH, false)).toContain("why");
    expect(missing("schedule", { ...FRESH, reason: "x" }, false)).toBe("");
  });
});

describe("the request", () => {
  it("names only the chosen strategy, and leaves the server its defaults", () => {
    const body = bodyOf({ ...FRESH, strategy: "canary", percent: 10, batch: "25%" }, "2.0.0", "1.0.0");
    expect(body.canary).toEqual({ percent: 10, monitor_seconds: undefined, batch_size: "25%" });
    expect("blue_green" in body).toBe(false);
    expect([body.if_version, body.schedule]).toEqual(["1.0.0", undefined]);
  });
  it("says the same on the command line, with its reason quoted", () => {
    const line = commandOf({ ...FRESH, shares: "10,100", latency: 300, reason: "it's urgent" }, "Echo", "1.1.0");
    expect(line).toBe(
      "servicing upgrade Echo 1.1.0 --strategy blue-green --steps 10,100 --latency-threshold-ms 300 --reason 'it'\\''s urgent' --watch",
    );
  });
});

describe("limits", () => {
  const limits = (draft: Partial<typeof FRESH>) => bodyOf({ ...FRESH, ...draft }, "2.0.0", null).auto_rollback;
  it("are left to what is set, unless they were typed; emptied is no limit", () => {
    expect(limits({})).toEqual({ enabled: true });
    expect(limits({ errors: 2, latency: "" })).toEqual({
      enabled: true,
      error_rate_threshold: 2,
      latency_threshold_ms: null,
    });
    expect(limits({ errors: 2, rollback: false })).toEqual({ enabled: false });
    expect(commandOf({ ...FRESH, errors: "" }, "Echo", "1.1.0")).toContain("--error-rate-threshold none");
    expect(commandOf(FRESH, "Echo", "1.1.0")).not.toContain("threshold");
  });
  it("are said as they will be in force", () => {
    const policy = { error_rate_threshold: 5, latency_threshold_ms: null } as Parameters<typeof backWhen>[0];
    expect(backWhen(policy)).toBe("above 5 % errors, or when it is proved worse");
  });
});

describe("what a start passes", () => {
  it("is nothing by default, and a sentence for each thing that would hold others back", () => {
    expect(passes(FRESH)).toEqual([]);
    expect(passes({ ...FRESH, override: true, overrideFreeze: true, whenBusy: "take_over" })).toHaveLength(3);
    expect(passes({ ...FRESH, whenBusy: "reject" })).toEqual([]);
  });
});
