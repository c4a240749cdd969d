import { describe, expect, it } from "vitest";
import { absolute, ago, clock, counted, since, took } from "./format";

describe("times", () => {
  const now = Date.parse("2026-01-02T03:00:00Z");
  it.each([
    ["2026-01-02T02:52:18Z", "7 min ago"],
    ["2026-01-01T23:20:00Z", "3 h ago"],
    ["2025-12-28T03:00:00Z", "5 d ago"],
  ])("%s is %s, in the largest unit", (at, text) => expect(ago(at, now)).toBe(text));
  it.each([
    ["2026-01-02T03:00:04Z", "just now"],
    ["2026-01-02T02:59:00Z", "1 min ago"],
    ["2026-01-02T03:00:20Z", "in 11 s"],
  ])("%s is %s for who looks nine seconds after the last tick", (at, text) =>
    expect(ago(at, since(at, now, now + 9000))).toBe(text),
  );
  it("are written by the clock of 24 hours, with their zone", () => {
    expect(absolute("2026-01-02T03:00:00Z")).toMatch(/^\w{3} \d, 2026, \d\d:\d\d \S+$/);
  });
  it("on an axis have seconds", () => expect(clock(1767323045)).toMatch(/^\d\d:\d\d:05$/));
  it.each([
    [0.004, "< 0.1 s"],
    [0.42, "0.4 s"],
    [57, "57 s"],
  ])("that %s s took reads %s", (seconds, text) => expect(took(seconds)).toBe(text));
});

it("one is not called many", () => {
  expect([counted(1, "request"), counted(0, "request"), counted(1200, "stream")]).toEqual([
    "1 request",
    "0 requests",
    "1,200 streams",
  ]);
});
