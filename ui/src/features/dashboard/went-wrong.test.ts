import { describe, expect, it } from "vitest";
import { wentWrong } from "./went-wrong";

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
