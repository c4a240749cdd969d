/** The limits under which an upgrade goes back or on: their names, units and words, for the settings and for the wizard. */
export const LIMITS = [
  { name: "error_rate_threshold", label: "Roll back above errors of", unit: " %", most: 100, off: true },
  { name: "latency_threshold_ms", label: "Roll back above p95 of", unit: " ms", off: true },
  { name: "promote_error_rate", label: "Promote below errors of", unit: " %", most: 100, of: "error_rate_threshold" },
  { name: "promote_latency_ms", label: "Promote below p95 of", unit: " ms", of: "latency_threshold_ms" },
  { name: "min_requests", label: "No verdict before", unit: " requests" },
] as const;

export type LimitName = (typeof LIMITS)[number]["name"];

/** What somebody set: null is no limit, what is missing is left to the next place. */
export type Said = Partial<Record<string, number | null>>;

export function limitWords(name: LimitName, value: number | null | undefined): string {
  const limit = LIMITS.find((each) => each.name === name);
  if (value === null || value === undefined) return name.startsWith("promote") ? "From the threshold" : "No limit";
  return `${value}${limit?.unit ?? ""}`;
}

/** What an agent has of its own, in words; a promote limit goes with its threshold. */
export function ownWords(limit: (typeof LIMITS)[number], own: Said): string {
  if (limit.name in own) return limitWords(limit.name, own[limit.name]);
  return "of" in limit && limit.of in own ? "From the threshold" : "As for all";
}

/** Where a value comes from, as a phrase. */
export function whence(origin: string, agent: string): string {
  const words: Record<string, string> = {
    agent: `default of ${agent}`,
    all: "default of all agents",
    built_in: "built in",
    derived: "from the threshold",
  };
  return words[origin] ?? "";
}
