import { describe, expect, it } from "vitest";
import { waitBefore } from "./live";

describe("the wait before another attempt", () => {
  it("doubles up to half a minute and is never the same for everybody", () => {
    expect([0, 1, 2, 20].map((attempt) => waitBefore(attempt, 1))).toEqual([500, 1000, 2000, 30_000]);
    expect(waitBefore(20, 0)).toBe(15_000);
  });
});
