/** All deployments of all agents: what comes, waits, runs and was. Which of them, and of which agent, stands in the address. */
import { Button, Group, Select, Stack, Table, Tabs, Text, Title } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { DEPLOYMENT_STATES, type DeploymentState } from "../../app/search";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { Heads } from "../../components/heads";
import { AnchorLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { DeploymentStatus } from "../../components/status";
import { Time } from "../../components/time";
import { isOver, stateOf } from "../../lib/deployments";
import { duration } from "../../lib/format";
import { Calendar } from "./calendar";
import { Change, type Change as ChangeKind } from "./change";

type Deployment = Schemas["DeploymentView"];

const route = getRouteApi("/deployments");
const STATES: Record<DeploymentState, string> = {
  all: "All",
  upcoming: "Upcoming",
  waiting: "Waiting",
  running: "Running",
  over: "Over",
};
const EACH = 50;

function useAll(wanted: string | undefined) {
  const refetchInterval = usePolling(30_000);
  const agents = api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: 200 } } },
    { refetchInterval },
  );
  const names = (agents.data?.agents ?? []).map((agent) => agent.agent_id).filter((name) => !wanted || name === wanted);
  const lists = useQueries({
    queries: names.map((name) => ({
      queryKey: ["deployments", name],
      refetchInterval,
      queryFn: async () => {
        const { data, error } = await http.GET("/api/platform/agents/{agent_id}/upgrades", {
          params: { path: { agent_id: name }, query: { limit: EACH } },
        });
        if (error) throw error;
        return data.upgrades;
      },
    })),
  });
  const failed = lists.find((list) => list.error);
  const waiting = agents.isPending || lists.some((list) => list.isPending);
  const found = lists
    .flatMap((list) => list.data ?? [])
    .sort((one, other) => other.requested_at.localeCompare(one.requested_at));
  return {
    agents: (agents.data?.agents ?? []).map((agent) => agent.agent_id),
    question: {
      isPending: waiting,
      error: agents.error ?? failed?.error,
      data: waiting || agents.error || (failed && !found.length) ? undefined : found,
      refetch: () => Promise.all([agents.refetch(), ...lists.map((list) => list.refetch())]),
    },
  };
}

export function AllDeployments() {
  useTitle("Deployments");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { agents, question } = useAll(search.agent);
  const found = question.data ?? [];
  const state = search.state ?? "all";
  const shown = found.filter((each) => state === "all" || stateOf(each) === state);
  const [change, setChange] = useState<{ kind: ChangeKind; deployment: Deployment } | null>(null);
  return (
    <Stack gap="lg">
      <Title order={1}>Deployments and schedule</Title>
      <Group align="flex-end" justify="space-between">
        <Tabs
          value={state}
          onChange={(value) => void navigate({ search: { ...search, state: (value ?? "all") as DeploymentState } })}
        >
          <Tabs.List>
            {DEPLOYMENT_STATES.map((each) => (
              <Tabs.Tab key={each} value={each} aria-controls="deployments-list">
                {STATES[each]} {each === "all" ? found.length : found.filter((one) => stateOf(one) === each).length}
              </Tabs.Tab>
            ))}
          </Tabs.List>
        </Tabs>
        <Select
          label="Agent"
          placeholder="all"
          data={agents}
          value={search.agent ?? null}
          onChange={(value) => void navigate({ search: { ...search, agent: value ?? undefined }, replace: true })}
          clearable
          clearButtonProps={{ "aria-label": "All agents" }}
          w={220}
        />
      </Group>
      <div id="deployments-list">
        <Panel title="Deployments" flush>
          <Asked question={question} lines={6}>
            {shown.length ? (
              <List deployments={shown} onChange={(kind, deployment) => setChange({ kind, deployment })} />
            ) : (
              <Empty title="There is none of these">
                {(search.agent || state !== "all") && (
                  <Button variant="default" onClick={() => void navigate({ search: {} })}>
                    Show all
                  </Button>
                )}
              </Empty>
            )}
          </Asked>
        </Panel>
      </div>
      <Calendar />
      {change && <Change kind={change.kind} deployment={change.deployment} onClose={() => setChange(null)} />}
    </Stack>
  );
}

const HEADS = ["Agent", "From → to", "Status", "By", "When", "Took", "Actions"];

function List({
  deployments,
  onChange,
}: {
  deployments: Deployment[];
  onChange: (kind: ChangeKind, deployment: Deployment) => void;
}) {
  return (
    <Table aria-label="Deployments of all agents" miw={880}>
      <Heads of={HEADS} />
      <Table.Tbody>
        {deployments.slice(0, 500).map((each) => (
          <Row key={each.upgrade_id} deployment={each} onChange={(kind) => onChange(kind, each)} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Row({ deployment, onChange }: { deployment: Deployment; onChange: (kind: ChangeKind) => void }) {
  const may = useMay("operator", deployment.agent_id);
  const over = isOver(deployment.status);
  const begun = Boolean(deployment.started_at);
  const unapproved = deployment.waiting_for === "approval";
  return (
    <Table.Tr>
      <Table.Th scope="row">
        <AnchorLink
          to="/agents/$agentId/deployments/$upgradeId"
          params={{ agentId: deployment.agent_id, upgradeId: deployment.upgrade_id }}
        >
          {deployment.agent_id}
        </AnchorLink>
        <Text size="sm" c="dimmed" fw={400}>
          {deployment.kind === "upgrade" ? deployment.strategy : deployment.kind}
        </Text>
      </Table.Th>
      <Table.Td className="mono">
        {deployment.from_version ?? "–"} → {deployment.to_version}
      </Table.Td>
      <Table.Td>
        <DeploymentStatus status={deployment.status} />
        {unapproved && (
          <Text size="sm" className="tone-warn">
            Waits for an approval
          </Text>
        )}
        {deployment.queue_position != null && (
          <Text size="sm" c="dimmed">
            Place {deployment.queue_position} in the queue
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {deployment.operator}
        <Text size="sm" c="dimmed" lineClamp={1}>
          {deployment.reason}
        </Text>
      </Table.Td>
      <Table.Td>
        <Time at={begun || !deployment.scheduled_at ? deployment.requested_at : deployment.scheduled_at} />
      </Table.Td>
      <Table.Td>{duration(deployment.duration_seconds)}</Table.Td>
      <Table.Td>
        {!over && (
          <Group gap="xs" wrap="nowrap">
            {unapproved && (
              <>
                <Action size="compact-md" why={may} onAct={() => onChange("approve")}>
                  Approve
                </Action>
                <Action size="compact-md" variant="default" why={may} onAct={() => onChange("reject")}>
                  Reject
                </Action>
              </>
            )}
            {!begun && (
              <Action size="compact-md" variant="default" why={may} onAct={() => onChange("reschedule")}>
                Reschedule
              </Action>
            )}
            <Action size="compact-md" variant="default" why={may} onAct={() => onChange("cancel")}>
              Cancel
            </Action>
          </Group>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
