import { describe, expect, it } from "vitest";
import { ago, bytes, difference, duration, milliseconds, percent, stageName } from "./format";

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

describe("sizes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1440, "1.4 kB"],
    [104_857_600, "105 MB"],
    [null, "–"],
  ])("of %s bytes reads %s", (size, text) => expect(bytes(size)).toBe(text));
});

describe("times", () => {
  const now = Date.parse("2026-01-02T03:00:00Z");
  it.each([
    ["2026-01-02T02:59:58Z", "just now"],
    ["2026-01-02T02:58:00Z", "2 min ago"],
    ["2026-01-02T04:00:00Z", "in 1 h"],
  ])("%s is %s", (at, text) => expect(ago(at, now)).toBe(text));
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
