import { describe, expect, it } from "vitest";
import { absolute, ago, clock, counted, difference, duration, milliseconds, percent, stageName, took } from "./format";

describe("durations", () => {
  it.each([
    [0.4, "0 s"],
    [59, "59 s"],
    [60, "1 min"],
    [185, "3 min 5 s"],
    [7800, "2 h 10 min"],
    [200_000, "2 d"],
    [null, "–"],
  ])("of %s seconds reads %s", (seconds, text) => expect(duration(seconds)).toBe(text));
});

describe("times", () => {
  const now = Date.parse("2026-01-02T03:00:00Z");
  it.each([
    ["2026-01-02T02:59:58Z", "just now"],
    ["2026-01-02T02:58:00Z", "2 min ago"],
    ["2026-01-02T02:52:18Z", "7 min ago"],
    ["2026-01-01T23:20:00Z", "3 h ago"],
    ["2025-12-28T03:00:00Z", "5 d ago"],
    ["2026-01-02T04:00:00Z", "in 1 h"],
  ])("%s is %s", (at, text) => expect(ago(at, now)).toBe(text));
  it("are written by the clock of 24 hours, with their zone", () => {
    expect(absolute("2026-01-02T03:00:00Z")).toMatch(/^\w{3} \d, 2026, \d\d:00 \S+$/);
  });
  it("on an axis have seconds", () => expect(clock(1767323045)).toMatch(/^\d\d:04:05$/));
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

describe("stages", () => {
  it.each([
    ["route_traffic_25", "Route 25 % to the new version"],
    ["route_traffic_0", "Take traffic back"],
    ["monitor_metrics_50", "Watch at 50 %"],
    ["promote_batch_2_of_3", "Promote batch 2 of 3"],
    ["health_check_green", "Health check green"],
  ])("%s is called %s", (stage, text) => expect(stageName(stage)).toBe(text));
});

describe("figures", () => {
  it("that nobody measured are a dash, never zero", () => {
    expect([percent(null), milliseconds(undefined), percent(0)]).toEqual(["–", "–", "0 %"]);
  });
  it("are compared with an arrow and a share", () => {
    expect([
      difference(100, 118),
      difference(120, 95),
      difference(100, 100.5),
      difference(null, 3),
      difference(0, 0),
    ]).toEqual(["▲ +18 %", "▼ −21 %", "about the same", "", "the same"]);
  });
});
