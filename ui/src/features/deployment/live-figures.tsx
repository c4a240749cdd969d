/** What changes each second while a deployment is under way: both sides' figures, and what a watch still waits for. */
import { memo, useCallback, useState } from "react";
import type { Schemas } from "../../api/client";
import type { LiveEvent } from "../../api/live";
import { useEvents } from "../../app/live";
import { Panel } from "../../components/panel";
import { Traffic } from "../../components/traffic";
import { Analysis } from "./analysis";
import { Compared } from "./compared";
import { Figures, type Side } from "./figures";

export const LiveFigures = memo(({ deployment }: { deployment: Schemas["DeploymentView"] }) => {
  const [figures] = useState(() => new Figures());
  const [newest, setNewest] = useState<{ blue: Side; green: Side } | null>(null);
  const take = useCallback(
    (event: LiveEvent) => {
      if (event.event !== "metrics_update" || event.upgrade_id !== deployment.upgrade_id) return;
      const sides = event.metrics as { blue: Side; green: Side };
      figures.add(Math.floor(Date.parse(event.at ?? "") / 1000), sides.blue, sides.green);
      setNewest(sides);
    },
    [deployment.upgrade_id, figures],
  );
  useEvents(take);
  const blue = { ...deployment.metrics.blue, ...newest?.blue };
  const green = { ...deployment.metrics.green, ...newest?.green };
  return (
    <>
      <Analysis deployment={deployment} green={green} />
      <Panel title="Traffic">
        <Traffic blue={deployment.metrics.blue} green={deployment.metrics.green} />
      </Panel>
      <Compared blue={blue} green={green} figures={figures} policy={deployment.auto_rollback} live />
    </>
  );
});
