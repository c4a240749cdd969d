/** All deployments of all agents: what comes, waits, runs and was. Which of them, and of which agent, stands in the address. */
import { Button, Group, Select, Stack, Table, Tabs, Text, Title } from "@mantine/core";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api, type Schemas } from "../../api/client";
import { OFFERED, useNames } from "../../app/names";
import { usePolling } from "../../app/polling";
import { DEPLOYMENT_STATES, type DeploymentState } from "../../app/search";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { Cards } from "../../components/cards";
import { AnchorLink } from "../../components/links";
import { Pages } from "../../components/pages";
import { Asked, Empty, Panel } from "../../components/panel";
import { DeploymentStatus } from "../../components/status";
import { Time } from "../../components/time";
import { isOver } from "../../lib/deployments";
import { count, duration } from "../../lib/format";
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
const ON_A_PAGE = 50;

export function AllDeployments() {
  useTitle("Deployments");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const names = useNames();
  const { state = "all", agent, after: cursor } = search;
  const refetchInterval = usePolling(30_000);
  const question = api.useQuery(
    "get",
    "/api/platform/deployments",
    { params: { query: { limit: ON_A_PAGE, state: state === "all" ? undefined : state, agent, cursor } } },
    { refetchInterval, placeholderData: keepPreviousData },
  );
  const shown = question.data?.upgrades ?? [];
  // Another question begins on its first page.
  const ask = (change: { state?: DeploymentState; agent?: string }, replace = false) =>
    void navigate({ search: { state: search.state, agent, ...change }, replace });
  const [change, setChange] = useState<{ kind: ChangeKind; deployment: Deployment } | null>(null);
  return (
    <Stack gap="lg">
      <Title order={1}>Deployments and schedule</Title>
      <Group align="flex-end" justify="space-between">
        <Tabs value={state} onChange={(value) => ask({ state: (value ?? "all") as DeploymentState })}>
          <Tabs.List>
            {DEPLOYMENT_STATES.map((each) => (
              <Tabs.Tab key={each} value={each} aria-controls="deployments-list">
                {STATES[each]}
                {each !== "all" && each !== "over" && question.data ? ` ${count(question.data.counts[each])}` : ""}
              </Tabs.Tab>
            ))}
          </Tabs.List>
        </Tabs>
        <Select
          label="Agent"
          placeholder="all"
          data={names}
          searchable
          limit={OFFERED}
          nothingFoundMessage="No agent is called like that"
          value={agent ?? null}
          onChange={(value) => ask({ agent: value ?? undefined }, true)}
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
                {(agent || state !== "all") && (
                  <Button variant="default" onClick={() => void navigate({ search: {} })}>
                    Show all
                  </Button>
                )}
              </Empty>
            )}
          </Asked>
        </Panel>
        <Pages
          after={cursor}
          next={question.data?.next_cursor}
          words={`${count(shown.length)} deployments on this page, newest first`}
          onGo={(after) => void navigate({ search: { ...search, after } })}
        />
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
    <Cards label="Deployments of all agents" heads={HEADS} least={880}>
      {deployments.map((each) => (
        <Row key={each.upgrade_id} deployment={each} onChange={(kind) => onChange(kind, each)} />
      ))}
    </Cards>
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
