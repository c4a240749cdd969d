import { describe, expect, it } from "vitest";
import { stateOf, wentWrong } from "./deployments";

describe("a deployment among all of them", () => {
  it.each([
    ["completed", null, "over"],
    ["in_progress", null, "running"],
    ["paused", null, "running"],
    ["queued", "turn", "waiting"],
    ["queued", "approval", "waiting"],
    ["scheduled", "approval", "waiting"],
    ["scheduled", "schedule", "upcoming"],
  ] as const)("%s, waiting for %s, is %s", (status, waiting_for, state) => {
    expect(stateOf({ status, waiting_for })).toBe(state);
  });
});

describe("what went wrong", () => {
  const now = Date.parse("2026-01-02T12:00:00Z");
  const cause = { auto_triggered: true } as Parameters<typeof wentWrong>[0]["rollback"];
  const byHand = { auto_triggered: false } as typeof cause;
  it.each([
    ["rolled_back", "2026-01-02T03:00:00Z", cause, true],
    ["rolled_back", "2026-01-02T03:00:00Z", byHand, false],
    ["rolled_back", "2025-12-31T03:00:00Z", cause, false],
    ["failed", "2026-01-02T03:00:00Z", null, true],
    ["completed", "2026-01-02T03:00:00Z", null, false],
  ] as const)("%s at %s wants attention: %s %s", (status, finished_at, rollback, wants) => {
    expect(wentWrong({ status, finished_at, rollback }, now)).toBe(wants);
  });
});
