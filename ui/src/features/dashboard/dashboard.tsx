/** Is anything wrong, what runs, what could be upgraded, what was done. */
import { Code, Group, Stack, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { api, type Schemas } from "../../api/client";
import { useAttention } from "../../app/attention";
import { usePolling } from "../../app/polling";
import { useTitle } from "../../app/title";
import { ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { count } from "../../lib/format";
import { AuditList } from "../audit/audit-list";
import { useAllOpen } from "../operations/open";
import { comingUp, underWay } from "../operations/under-way";
import { RollbackDialog } from "../rollback/lazy";
import { AgentsTable } from "./agents-table";
import { ComingUp, Running } from "./running";

const route = getRouteApi("/");
const RECENT = 8;
/** What is shown of each here; the rest is a click away. */
const AGENTS = 20;
const RUNNING = 6;
const NEXT = 5;
/** More are asked for than are shown, because those who came and went are left to the audit. */
const ASKED = 40;

export function Dashboard() {
  useTitle("Dashboard");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const refetchInterval = usePolling();
  const agents = api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: AGENTS } } },
    { refetchInterval },
  );
  const urgent = useAttention();
  const fleet = api.useQuery("get", "/api/platform/fleet", {}, { refetchInterval });
  const recent = api.useQuery(
    "get",
    "/api/platform/audit",
    { params: { query: { limit: ASKED } } },
    { refetchInterval },
  );
  const { all, counts } = useAllOpen();
  const running = underWay(all).slice(0, RUNNING);
  const total = agents.data?.total ?? 0;
  const done = (recent.data?.events ?? []).filter((event) => !event.type.startsWith("sign"));
  const onRollback = (agent: string | undefined) => void navigate({ search: { rollback: agent } });
  return (
    <Stack gap="lg">
      <Group justify="space-between">
        <Title order={1}>Dashboard</Title>
        {fleet.data && <Totals fleet={fleet.data} />}
      </Group>
      {urgent.data && <Attention agents={urgent.data.agents} total={urgent.data.total} />}
      <Running deployments={running} total={counts.running + counts.waiting} onRollback={onRollback} />
      <ComingUp deployments={comingUp(all, NEXT)} total={counts.upcoming} />
      <Panel
        title="Agents"
        aside={
          total > AGENTS && (
            <ButtonLink to="/agents" variant="default" size="compact-md">
              {`All ${count(total)}`}
            </ButtonLink>
          )
        }
        flush
      >
        <Asked question={agents} lines={6}>
          {agents.data?.agents.length ? (
            <AgentsTable agents={agents.data.agents} onRollback={onRollback} />
          ) : (
            <NoAgent />
          )}
        </Asked>
      </Panel>
      <Panel
        title="What was done"
        aside={
          <ButtonLink to="/audit" variant="default" size="compact-md">
            All of it
          </ButtonLink>
        }
        flush
      >
        <Asked question={recent}>
          <AuditList events={done.slice(0, RECENT)} />
        </Asked>
      </Panel>
      {search.rollback && <RollbackDialog agent={search.rollback} onClose={() => onRollback(undefined)} />}
    </Stack>
  );
}

/** The first thing that anybody sees of the product. */
function NoAgent() {
  return (
    <Empty title="No agent yet">
      <Stack gap="xs" align="center">
        <Text maw={560}>
          An agent is a service that answers at one address and is upgraded without a gap: it is described by a file,
          agent.toml, which says where its versions come from and how one is run.
        </Text>
        <Text>
          Take on the first one: <Code>servicing agent add path/to/agent.toml --wait</Code>
        </Text>
        <Text>
          Or look around among four sample agents under traffic: <Code>servicing demo</Code>, from a checkout{" "}
          <Code>make demo</Code>
        </Text>
      </Stack>
    </Empty>
  );
}

function Totals({ fleet }: { fleet: Schemas["FleetView"] }) {
  return (
    <Text c="dimmed">
      {count(fleet.agents)} agents, {count(fleet.instances_ready)} of {count(fleet.instances_desired)} instances ready,{" "}
      {count(fleet.updates_available)} updates
    </Text>
  );
}

/** Only when there is something. Each line says what, and leads to where it can be mended. */
function Attention({ agents, total }: { agents: Schemas["AgentSummary"][]; total: number }) {
  const because = (word: Schemas["AgentSummary"]["attention"][number]) =>
    agents.filter((agent) => agent.attention.includes(word));
  if (!agents.length) return null;
  return (
    <Panel
      title="Needs attention"
      aside={
        total > agents.length && (
          <ButtonLink
            to="/agents"
            search={{ attention: true, sort: "health" }}
            variant="default"
            size="compact-md"
          >{`All ${count(total)}`}</ButtonLink>
        )
      }
    >
      <Stack gap="sm">
        {because("health").map((agent) => (
          <Line key={`ill-${agent.agent_id}`} agent={agent.agent_id} tone="bad" tab="overview" act="Look">
            {`${agent.agent_id} has ${agent.health.ready} of ${agent.health.desired} instances ready`}
          </Line>
        ))}
        {because("went_wrong").map((agent) => (
          <Back key={`back-${agent.agent_id}`} agent={agent} />
        ))}
        {because("security_update").map((agent) => (
          <Line key={`unsafe-${agent.agent_id}`} agent={agent.agent_id} tone="warn" tab="versions" act="Review">
            {`${agent.agent_id} has a security update: ${agent.available_versions.find((each) => each.security || each.critical)?.version}`}
          </Line>
        ))}
        {because("withdrawn").map((agent) => (
          <Line key={`withdrawn-${agent.agent_id}`} agent={agent.agent_id} tone="warn" tab="versions" act="Review">
            {`${agent.agent_id} runs ${agent.current_version}, which was withdrawn`}
          </Line>
        ))}
        {because("paused").map((agent) => (
          <Line key={`paused-${agent.agent_id}`} agent={agent.agent_id} tone="warn" tab="deployments" act="Look">
            {`The deployment of ${agent.agent_id} ${agent.deployment?.to_version} is paused`}
          </Line>
        ))}
      </Stack>
    </Panel>
  );
}

function Line({
  agent,
  tone,
  tab,
  act,
  children,
}: {
  agent: string;
  tone: "bad" | "warn";
  tab: "overview" | "versions" | "deployments";
  act: string;
  children: string;
}) {
  return (
    <Group justify="space-between">
      <Status tone={tone}>{children}</Status>
      <ButtonLink
        to="/agents/$agentId"
        params={{ agentId: agent }}
        search={{ tab }}
        variant="default"
        size="compact-md"
      >
        {act}
      </ButtonLink>
    </Group>
  );
}

/** What nobody may have seen: the engine took it back, or it failed, within the last day. */
function Back({ agent: { deployment } }: { agent: Schemas["AgentSummary"] }) {
  if (!deployment) return null;
  const { agent_id: agentId, upgrade_id: upgradeId, to_version: version, status, rollback } = deployment;
  return (
    <Group justify="space-between">
      <div>
        <Status tone="bad">{`${agentId} ${version} ${status === "failed" ? "failed" : "was rolled back by the engine"}`}</Status>
        <Text size="sm" c="dimmed" component="div" className="cut">
          <Time at={deployment.finished_at} />
          {rollback ? `: ${rollback.reason}` : ""}
        </Text>
      </div>
      <ButtonLink
        to="/agents/$agentId/deployments/$upgradeId"
        params={{ agentId, upgradeId }}
        variant="default"
        size="compact-md"
      >
        See why
      </ButtonLink>
    </Group>
  );
}
