import { describe, expect, it } from "vitest";
import { counted, rowsOf, settled } from "./acknowledged";

const change = (status: string, instances: Record<string, unknown>) => ({
  config_version: "cfg-1.0.0-p1",
  status,
  requested_at: "2026-01-02T03:00:00.000Z",
  applied_at: null,
  instances,
});

describe("acknowledgements", () => {
  it("are counted, with the time of the last when all are in", () => {
    const rows = rowsOf(
      change("applied", {
        "g1-10-1": { result: "applied", applied_at: "2026-01-02T03:00:01.800Z" },
        "g1-2-1": { result: "applied", applied_at: "2026-01-02T03:00:00.400Z" },
      }),
    );
    expect(rows.map((row) => [row.instance, row.after])).toEqual([
      ["g1-2-1", 400],
      ["g1-10-1", 1800],
    ]);
    expect(counted(rows)).toBe("2/2 acknowledged in 1.8\u00a0s");
  });
  it.each([
    ["preparing", "waiting", "Pending"],
    ["trying", "prepared", "Would take it, waits"],
    ["refused", "prepared", "Would have taken it"],
    ["refused", "unanswered", "Timed out"],
    ["reverted", "waiting", "Timed out"],
    ["reverted", "reverted", "Has back what it had"],
  ])("while %s: %s reads %s", (status, result, words) => {
    expect(rowsOf(change(status, { "g1-1-1": { result } }))[0]?.words).toBe(words);
  });
  it("say why one rejects", () => {
    const [row] = rowsOf(
      change("refused", { a: { result: "refused", problems: [{ path: "rate", message: "is too high" }] } }),
    );
    expect([row?.words, row?.why]).toEqual(["Rejected", "rate: is too high"]);
    expect(counted(row ? [row] : [])).toBe("0/1 acknowledged");
  });
  it("go on until the change is settled", () => {
    expect(["preparing", "applying", "restarting", "applied", "refused"].map(settled)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
  });
});
