/** What the states of a deployment mean for the page. */
import type { Schemas } from "../api/client";
import type { DeploymentState } from "../app/search";

const OVER = new Set(["completed", "rolled_back", "cancelled", "failed"]);

export function isOver(status: string): boolean {
  return OVER.has(status);
}

const A_DAY_MS = 24 * 3600 * 1000;

/** Whether it failed, or was taken back by the engine, within the last day: what a person decided needs no attention any more. */
export function wentWrong(
  deployment: Pick<Schemas["DeploymentView"], "status" | "finished_at" | "rollback">,
  now: number,
): boolean {
  const wrong =
    deployment.status === "failed" ||
    (deployment.status === "rolled_back" && (deployment.rollback?.auto_triggered ?? false));
  return wrong && deployment.finished_at !== null && now - Date.parse(deployment.finished_at) < A_DAY_MS;
}

/** Where it stands among all of them. What somebody has to approve waits, whenever it is to begin. */
export function stateOf(
  deployment: Pick<Schemas["DeploymentView"], "status" | "waiting_for">,
): Exclude<DeploymentState, "all"> {
  if (isOver(deployment.status)) return "over";
  if (!deployment.waiting_for) return "running";
  return deployment.waiting_for === "schedule" ? "upcoming" : "waiting";
}
