/** What is looked for in the history, as the address says it, as the server is asked for it, and what can be chosen. */
export interface AuditSearch {
  agent?: string;
  type?: string;
  operator?: string;
  status?: string;
  /** Words of a reason. */
  says?: string;
  /** Whole days of whoever looks, such as 2026-01-31; the last one is included. */
  since?: string;
  until?: string;
}

const KINDS = [
  "upgrade",
  "rollback",
  "config_patch",
  "restart",
  "scale",
  "analysis_overridden",
  "staging_completed",
  "agent_added",
  "agent_removed",
  "line_stopped",
  "line_resumed",
  "token_created",
  "user_created",
  "audit_exported",
];
const RESULTS = ["success", "rolled_back", "cancelled", "failed", "refused"];

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Midnight there, so many days later; nothing for what is no day. */
function midnight(day: string | undefined, later: number): string | undefined {
  if (!day || !DAY.test(day)) return undefined;
  const at = new Date(`${day}T00:00`);
  at.setDate(at.getDate() + later);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** The same for the list and for the files that are taken along. */
export function filtersOf({ since, until, ...same }: AuditSearch): AuditSearch {
  const all = { ...same, since: midnight(since, 0), until: midnight(until, 1) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
}

/** With whatever the address names besides: a filter that is in force is never hidden. */
export function choices(known: "kinds" | "results", chosen: string | undefined): { value: string; label: string }[] {
  const all = known === "kinds" ? KINDS : RESULTS;
  return [...all, ...(chosen && !all.includes(chosen) ? [chosen] : [])].map((each) => ({
    value: each,
    label: each.replaceAll("_", " "),
  }));
}
