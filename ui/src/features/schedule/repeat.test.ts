import { describe, expect, it } from "vitest";
import { cronOf, type Every } from "./repeat";

describe("what repeats", () => {
  it.each([
    ["day", "22:00", "0 22 * * *"],
    ["workday", "09:05", "5 9 * * 1-5"],
    ["weekend", "00:00", "0 0 * * 0,6"],
    ["month", "07:30:00", "30 7 1 * *"],
    ["day", "24:00", null],
    ["day", "", null],
  ] as [Every, string, string | null][])("%s at %s is %s", (every, at, cron) =>
    expect(cronOf(every, at, "")).toBe(cron),
  );
  it("may be written by hand", () => {
    expect(cronOf("own", "", " 0 4 * * FRI#1 ")).toBe("0 4 * * FRI#1");
    expect(cronOf("own", "", " ")).toBeNull();
  });
});
