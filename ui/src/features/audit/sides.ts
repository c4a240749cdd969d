/** What an entry of the audit says was so before and after, as far as it says so. */
import { type Changes, isTable, sidesOf, type Values } from "../../lib/lines";

export function sidesOfEntry(entry: Record<string, unknown>): { before: Values; after: Values } | null {
  if (isTable(entry.config_changes)) return sidesOf(entry.config_changes as Changes);
  if ("before" in entry || "after" in entry) return { before: named(entry.before), after: named(entry.after) };
  if (entry.to_version && entry.from_version !== entry.to_version)
    return {
      before: entry.from_version ? { version: entry.from_version } : {},
      after: { version: entry.to_version },
    };
  return null;
}

/** What is no table gets a name to stand under. */
function named(value: unknown): Values {
  if (value === null || value === undefined) return {};
  return isTable(value) ? value : { value };
}
