/** Where one can go back to, the best first: while an upgrade is under way, that is what serves beside the version it brings. */
import type { Schemas } from "../../api/client";

type Point = Schemas["RollbackPointView"];

export function backTo(points: readonly Point[], current: string, since: string | null, leaves: boolean): Point[] {
  const earlier = points.filter((point) => point.version !== current);
  if (!leaves) return earlier;
  return [{ version: current, deployed_at: since ?? "", can_rollback: true, note: "" }, ...earlier];
}
