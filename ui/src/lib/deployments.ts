/** What the states of a deployment mean for the page. */
import type { Schemas } from "../api/client";
import type { DeploymentState } from "../app/search";

const OVER = new Set(["completed", "rolled_back", "cancelled", "failed"]);

export function isOver(status: string): boolean {
  return OVER.has(status);
}

/** Where it stands among all of them. What somebody has to approve waits, whenever it is to begin. */
export function stateOf(
  deployment: Pick<Schemas["DeploymentView"], "status" | "waiting_for">,
): Exclude<DeploymentState, "all"> {
  if (isOver(deployment.status)) return "over";
  if (!deployment.waiting_for) return "running";
  return deployment.waiting_for === "schedule" ? "upcoming" : "waiting";
}
