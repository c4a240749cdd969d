/** What a deployment that has ended did from beginning to end, as the server keeps it for good, with the moment that decided it. */
import { Text } from "@mantine/core";
import { useMemo } from "react";
import { api, type Schemas } from "../../api/client";
import { clock, duration } from "../../lib/format";
import { Compared } from "./compared";
import { Figures } from "./figures";

export function Kept({ deployment }: { deployment: Schemas["DeploymentView"] }) {
  const { agent_id: agent, upgrade_id: upgrade, metrics } = deployment;
  const asked = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/upgrades/{upgrade_id}/figures",
    { params: { path: { agent_id: agent, upgrade_id: upgrade } } },
    { staleTime: Number.POSITIVE_INFINITY },
  );
  const { points = [], decided = null, decided_at: at = null } = asked.data ?? {};
  const figures = useMemo(() => (points.length ? Figures.of(points) : null), [points]);
  const words = deployment.rollback ? "rolled back" : "over";
  const mark = at === null ? null : { seconds: Date.parse(at) / 1000, words };
  const each = points.reduce((sum, point) => sum + point.seconds, 0) / points.length;
  return (
    <div>
      <Compared
        blue={decided?.blue ?? metrics.blue ?? {}}
        green={(decided ? decided.green : metrics.green) ?? {}}
        figures={figures}
        policy={deployment.auto_rollback}
        live={false}
        mark={mark}
      />
      <Text size="sm" c="dimmed" mt={4}>
        {figures && mark
          ? `From beginning to end, a point for about every ${duration(Math.max(1, each))}. The upright line is ${clock(mark.seconds)}, when it was ${words}; the figures are those of the ${duration(Math.max(1, decided?.seconds ?? 0))} before.`
          : asked.data &&
            "No charts were kept of it: the versions were not compared, or an older server did not keep when."}
        {asked.error && "The charts could not be had."}
      </Text>
    </div>
  );
}
