import { expect, test } from "vitest";
import { doing, isOver, isWaiting, stepOf } from "./deployments";

const upgrade = {
  kind: "upgrade",
  status: "in_progress",
  operator: "night-watch",
  to_version: "1.5.0",
  current_stage: "monitor_metrics_25",
  stages: [{ stage: "deploy_green" }, { stage: "monitor_metrics_25" }, { stage: "retire" }],
};

test("who holds an agent is said with what they do", () => {
  expect(doing(upgrade)).toBe("night-watch is deploying 1.5.0");
  expect(doing({ ...upgrade, status: "paused" })).toBe("night-watch is deploying 1.5.0, paused");
  expect(doing({ ...upgrade, kind: "rollback", to_version: "1.4.1" })).toBe("night-watch is rolling back to 1.4.1");
  expect(doing({ ...upgrade, kind: "restart" })).toBe("night-watch is restarting it");
  expect(doing({ ...upgrade, status: "rolling_back" })).toBe(
    "1.5.0, which night-watch was deploying, is being taken back",
  );
});

test("a kind that is not known yet is still said", () => {
  expect(doing({ ...upgrade, kind: "move" })).toBe("night-watch has move under way");
});

test("how far it is stands in steps, and nowhere before the first", () => {
  expect(stepOf(upgrade)).toBe("step 2 of 3");
  expect(stepOf({ ...upgrade, current_stage: null })).toBe("");
});

test("what waits is neither over nor under way", () => {
  expect(["queued", "scheduled", "paused", "completed"].map(isWaiting)).toEqual([true, true, false, false]);
  expect(["queued", "paused", "rolling_back", "completed", "failed"].map(isOver)).toEqual([
    false,
    false,
    false,
    true,
    true,
  ]);
});
