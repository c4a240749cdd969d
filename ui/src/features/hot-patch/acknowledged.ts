/** What each instance made of a change, in the words of the page. */
import type { Tone } from "../../theme/tokens";

export interface Result {
  result: string;
  applied_at?: string | null;
  problems?: { path: string; message: string }[];
}
export interface Change {
  config_version: string;
  status: string;
  requested_at: string;
  applied_at: string | null;
  instances?: Record<string, unknown>;
}

export interface Row {
  instance: string;
  tone: Tone;
  words: string;
  why: string;
  /** Milliseconds from the request until it was confirmed. */
  after: number | null;
}

const OPEN = new Set(["preparing", "trying", "applying", "reverting"]);

export function settled(status: string): boolean {
  return !OPEN.has(status) && status !== "restarting";
}

export function rowsOf(change: Change): Row[] {
  const over = settled(change.status);
  return Object.entries(change.instances ?? {})
    .map(([instance, found]) => rowOf(instance, found as Result, change.requested_at, over))
    .sort((one, other) => one.instance.localeCompare(other.instance, "en", { numeric: true }));
}

function rowOf(instance: string, found: Result, asked: string, over: boolean): Row {
  const why = (found.problems ?? [])
    .map((each) => (each.path ? `${each.path}: ${each.message}` : each.message))
    .join("; ");
  const row = (tone: Tone, words: string, after: number | null = null): Row => ({ instance, tone, words, why, after });
  switch (found.result) {
    case "applied":
      return row("good", "Acknowledged", found.applied_at ? Date.parse(found.applied_at) - Date.parse(asked) : null);
    case "refused":
    case "failed":
      return row("bad", "Rejected");
    case "unanswered":
      return row("bad", "Timed out");
    case "gone":
      return row("bad", "Ended with it");
    case "reverted":
      return row("warn", "Has back what it had");
    case "prepared":
      return over ? row("quiet", "Would have taken it") : row("busy", "Would take it, waits");
    default:
      return over ? row("bad", "Timed out") : row("busy", "Pending");
  }
}

/** The last one took so long, seconds; null when not all have it. */
export function tookSeconds(rows: Row[]): number | null {
  const after = rows.map((row) => row.after);
  return rows.length && after.every((each): each is number => each !== null) ? Math.max(...after) / 1000 : null;
}

/** 11/12 acknowledged, in 1.8 s. */
export function counted(rows: Row[]): string {
  const took = tookSeconds(rows);
  const many = rows.filter((row) => row.tone === "good").length;
  return `${many}/${rows.length} acknowledged${took === null ? "" : ` in ${took.toFixed(1)}\u00a0s`}`;
}
