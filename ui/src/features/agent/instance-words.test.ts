import { describe, expect, it } from "vitest";
import { busy, checks, uptime } from "./instance-words";

describe("what is said of an instance", () => {
  it.each([
    [2, 0, "passed, at least 2 times in a row"],
    [1, 0, "passed, at least once in a row"],
    [0, 3, "failed 3 times in a row"],
    [0, 0, ""],
  ])("with %s good and %s bad checks: %s", (healthy_in_a_row, unhealthy_in_a_row, words) =>
    expect(checks({ healthy_in_a_row, unhealthy_in_a_row })).toBe(words),
  );

  it("is up only while its process runs", () => {
    const now = Date.parse("2026-01-02T02:01:00Z");
    const started_at = "2026-01-02T02:00:00Z";
    expect(uptime({ started_at, status: "ready" }, now)).toBe(60);
    expect(uptime({ started_at, status: "failed" }, now)).toBeNull();
    expect(uptime({ started_at: null, status: "starting" }, now)).toBeNull();
  });

  it("is busy with what is known, and a dash when nothing is", () => {
    expect(busy({ in_flight: 3, active_streams: 1, open_conversations: 0 })).toBe("3 requests, 1 stream");
    expect(busy({ in_flight: null, active_streams: null, open_conversations: null })).toBe("–");
  });
});
