/** The limits under which an upgrade goes back or on: their names, units and words, for the settings and for the wizard. */
export const LIMITS = [
  { name: "error_rate_threshold", label: "Back above errors of", unit: " %", most: 100, off: true },
  { name: "latency_threshold_ms", label: "Back when 95 % are slower than", unit: " ms", off: true },
  { name: "promote_error_rate", label: "Fine below errors of", unit: " %", most: 100 },
  { name: "promote_latency_ms", label: "Fine when 95 % are faster than", unit: " ms" },
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
