/** Roles for single agents: as the fields have them, as the API takes them, as a sentence. */
import type { Role } from "../../app/session";

export interface Granted {
  agent: string;
  role: Role;
}

/** No agents: all. */
export interface Reach {
  agents: string[];
  grants: Granted[];
}

export function grantsOf(grants: Record<string, string>): Granted[] {
  return Object.entries(grants).map(([agent, role]) => ({ agent, role: role as Role }));
}

/** A line without an agent is left out; of two for the same agent the last counts. */
export function bodyOfReach({ agents, grants }: Reach): { agents: string[] | null; grants: Record<string, Role> } {
  const named = grants.map(({ agent, role }) => [agent.trim(), role] as const).filter(([agent]) => agent);
  return { agents: agents.length ? agents : null, grants: Object.fromEntries(named) };
}

export function reachWords(agents: string[] | null, grants: Record<string, string>): string {
  const others = grantsOf(grants).map(({ agent, role }) => `${role} of ${agent}`);
  return [agents ? `only ${agents.join(", ")}` : "all agents", ...others].join("; ");
}
