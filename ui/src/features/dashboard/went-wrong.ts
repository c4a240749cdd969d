/** Which deployments somebody should look at, although they are over. */
import type { Schemas } from "../../api/client";

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
