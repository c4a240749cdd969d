/** One deployment while it happens, and for ever after: traffic, both sides compared, every stage, what the analysis says, and what can be done. */
import { Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { memo, useState } from "react";
import { api, isRefusal, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { AnchorLink } from "../../components/links";
import { Asked, Panel } from "../../components/panel";
import { Refused } from "../../components/refused";
import { DeploymentStatus } from "../../components/status";
import { Traffic } from "../../components/traffic";
import { isOver } from "../../lib/deployments";
import { percent } from "../../lib/format";
import { Instances } from "../agent/overview";
import { RollbackDialog } from "../rollback/rollback-dialog";
import { Ended } from "./ended";
import { Events } from "./events";
import { Cause, Facts, Held } from "./facts";
import { History } from "./history";
import { Impact } from "./impact";
import { Kept } from "./kept";
import { LiveFigures } from "./live-figures";
import { ReportIssue } from "./report-issue";
import { Stages } from "./stages";
import { Verbs } from "./verbs";

type Deployment = Schemas["DeploymentView"];

const route = getRouteApi("/agents/$agentId/deployments/$upgradeId");

export function Monitor() {
  const { agentId, upgradeId } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const polling = usePolling(5000);
  const params = { path: { agent_id: agentId, upgrade_id: upgradeId } };
  const deployment = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/upgrades/{upgrade_id}",
    { params },
    { refetchInterval: (query) => (isOver(query.state.data?.status ?? "") ? false : polling) },
  );
  const found = deployment.data;
  const green = found?.metrics.green?.traffic_percent;
  useTitle(
    found && `${agentId} ${found.from_version ?? ""} → ${found.to_version}`,
    found && (green != null && !isOver(found.status) ? percent(green) : found.status.replaceAll("_", " ")),
  );
  const onRollback = (open: boolean) => void navigate({ search: { rollback: open ? "open" : undefined } });
  if (!deployment.data && isRefusal(deployment.error)) return <Refused error={deployment.error} />;
  return (
    <Asked question={deployment} lines={8}>
      {found && <Whole key={found.upgrade_id} deployment={found} onRollback={() => onRollback(true)} />}
      {search.rollback && <RollbackDialog agent={agentId} onClose={() => onRollback(false)} />}
    </Asked>
  );
}

/** What can be done depends on the state alone, while the rest of a deployment changes all the time. */
const Steer = memo(
  Verbs,
  ({ deployment: before }, { deployment: now }) => before.upgrade_id === now.upgrade_id && before.status === now.status,
);

function Whole({ deployment, onRollback }: { deployment: Deployment; onRollback: () => void }) {
  const over = isOver(deployment.status);
  const may = useMay("operator", deployment.agent_id);
  const [reporting, setReporting] = useState(false);
  // What was told while it went on stays when it ends; of one that is over already nothing will be told.
  const [watched] = useState(!over);
  return (
    <Stack gap="lg">
      {reporting && <ReportIssue deployment={deployment} onClose={() => setReporting(false)} />}
      <div className="sticky">
        <Group justify="space-between">
          <div>
            <Text size="sm" c="dimmed">
              <AnchorLink to="/agents/$agentId" params={{ agentId: deployment.agent_id }}>
                {deployment.agent_id}
              </AnchorLink>
              , {deployment.kind === "upgrade" ? deployment.strategy : deployment.kind}
            </Text>
            <Group gap="md">
              <Title order={1}>
                {deployment.agent_id} {deployment.from_version ?? ""} → {deployment.to_version}
              </Title>
              <DeploymentStatus status={deployment.status} />
            </Group>
          </div>
          {over ? <Ended deployment={deployment} onRollback={onRollback} /> : <Steer deployment={deployment} />}
        </Group>
      </div>
      <Group justify="space-between" gap="xs">
        <Facts deployment={deployment} over={over} />
        <Action size="compact-md" variant="default" why={may} onAct={() => setReporting(true)}>
          Report issue
        </Action>
      </Group>
      {!over && <Held deployment={deployment} />}
      {deployment.rollback && <Cause cause={deployment.rollback} />}
      {over ? (
        <>
          <Panel title="Traffic">
            <Traffic blue={deployment.metrics.blue} green={deployment.metrics.green} />
          </Panel>
          <Kept deployment={deployment} />
        </>
      ) : (
        <LiveFigures deployment={deployment} />
      )}
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Stages stages={deployment.stages} />
        <Stack gap="lg">
          <Impact impact={deployment.impact} />
          {watched && <Events agent={deployment.agent_id} />}
        </Stack>
      </SimpleGrid>
      <History
        agent={deployment.agent_id}
        deployment={deployment.upgrade_id}
        since={deployment.requested_at}
        until={deployment.finished_at}
      />
      {!over && <Running agent={deployment.agent_id} />}
    </Stack>
  );
}

function Running({ agent }: { agent: string }) {
  const refetchInterval = usePolling(3000);
  const instances = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/instances",
    { params: { path: { agent_id: agent } } },
    { refetchInterval },
  );
  return (
    <Panel title="Instances" flush>
      <Asked question={instances}>{instances.data && <Instances instances={instances.data.instances} />}</Asked>
    </Panel>
  );
}
