import { describe, expect, it } from "vitest";
import { stateOf } from "./deployments";

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
