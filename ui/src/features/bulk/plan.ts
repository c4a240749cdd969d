/** What an upgrade of several agents would do to each: the version it would get, or why it has to be upgraded by itself. */
import type { Schemas } from "../../api/client";

export type Which = "recommended" | "newest";

export interface Planned {
  agent: string;
  from: string | null;
  to: string | null;
  /** Why it is not among them; empty when it is. */
  why: string;
}

type Versions = Pick<Schemas["VersionList"], "current_version"> & {
  recommended: Pick<NonNullable<Schemas["VersionList"]["recommended"]>, "version"> | null;
  available_versions: Pick<
    Schemas["VersionView"],
    "version" | "type" | "upgradable" | "compatibility" | "breaking_changes"
  >[];
};

/** `may` is why this person may not, empty when they may. */
export function planned(agent: string, versions: Versions, which: Which, may: string): Planned {
  const from = versions.current_version;
  const none = (why: string, to: string | null = null): Planned => ({ agent, from, to, why });
  if (may) return none(may);
  const newest = versions.available_versions.find((each) => each.upgradable);
  const to = which === "newest" ? newest?.version : versions.recommended?.version;
  if (!to) return none(which === "newest" ? "It has no newer version." : "No version is recommended to it.");
  const chosen = versions.available_versions.find((each) => each.version === to);
  if (chosen && !chosen.upgradable) return none(chosen.compatibility || "It cannot go there directly.", to);
  if (chosen && (chosen.type === "major" || chosen.breaking_changes.length))
    return none("It breaks something: read that first and upgrade it by itself.", to);
  return { agent, from, to, why: "" };
}
