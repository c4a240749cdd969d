import { describe, expect, it } from "vitest";
import { comingUp, inWords, underWay } from "./under-way";

function one(name: string, status: string, more: { minute?: number; at?: string; unapproved?: boolean } = {}) {
  return {
    name,
    status,
    approval_wanted: more.unapproved ?? false,
    approved_by: null,
    requested_at: `2026-01-01T00:${String(more.minute ?? 0).padStart(2, "0")}:00Z`,
    scheduled_at: more.at ?? null,
  };
}
const names = (found: { name: string }[]) => found.map(({ name }) => name);

describe("what is under way", () => {
  it("is what moves, then what waits, each in the order in which it was asked for", () => {
    const open = [
      one("second to wait", "queued", { minute: 9 }),
      one("for a person", "scheduled", { minute: 8, unapproved: true, at: "2026-03-01T00:00:00Z" }),
      one("later", "scheduled", { minute: 7, at: "2026-02-01T00:00:00Z" }),
      one("newest", "paused", { minute: 6 }),
      one("oldest", "in_progress", { minute: 1 }),
      one("done", "completed"),
    ];
    expect(names(underWay(open))).toEqual(["oldest", "newest", "for a person", "second to wait"]);
  });
});

describe("what comes up", () => {
  it("is ordered by the moment it begins, whatever zone that is written in, and no longer than asked for", () => {
    const open = [
      one("third", "scheduled", { at: "2026-02-01T09:00:00Z" }),
      one("first", "scheduled", { at: "2026-02-01T08:30:00+02:00" }),
      one("second", "scheduled", { at: "2026-02-01T08:00:00Z", unapproved: true }),
      one("running", "in_progress", { at: "2026-01-01T00:00:00Z" }),
    ];
    expect(names(comingUp(open, 5))).toEqual(["first", "second", "third"]);
    expect(names(comingUp(open, 2))).toEqual(["first", "second"]);
  });
});

describe("how many there are", () => {
  it.each([
    [{ running: 2, waiting: 0 }, "2 running"],
    [{ running: 0, waiting: 1 }, "1 waiting"],
    [{ running: 1, waiting: 3 }, "1 running, 3 waiting"],
    [{ running: 0, waiting: 0 }, ""],
  ])("%j is %j", (counts, words) => expect(inWords(counts)).toBe(words));
});
