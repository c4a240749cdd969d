/** Who answers with which share and how well, and every instance. */
import { SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { memo } from "react";
import { api, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Heads } from "../../components/heads";
import { ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { InstanceStatus } from "../../components/status";
import { Time } from "../../components/time";
import { count, duration, milliseconds, percent, perSecond } from "../../lib/format";
import { busy, POOLS } from "./instance-words";

const HEADS = ["Instance", "Version", "State", "Busy with", "Process", "Since"];

export function Overview({ agent }: { agent: Schemas["AgentDetail"] }) {
  const refetchInterval = usePolling(3000);
  const instances = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/instances",
    { params: { path: { agent_id: agent.agent_id } } },
    { refetchInterval },
  );
  return (
    <Stack gap="lg">
      <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }}>
        <Tile title="Instances ready" big={`${agent.health.ready} of ${agent.health.desired}`} />
        <Tile title="Traffic" big={shares(agent.traffic)} />
        <Tile title="Update" big={agent.available_versions[0]?.version ?? "none"} words={kinds(agent)} />
        <Tile
          title="Rollback points"
          big={count(agent.rollback_points.length)}
          words={agent.rollback_points.join(", ")}
        />
      </SimpleGrid>
      <Measured agent={agent.agent_id} />
      <Panel
        title="Instances"
        flush
        aside={
          <ButtonLink
            to="/agents/$agentId"
            params={{ agentId: agent.agent_id }}
            search={{ tab: "instances" }}
            variant="default"
            size="compact-md"
          >
            Checks and logs
          </ButtonLink>
        }
      >
        <Asked question={instances}>{instances.data && <Instances instances={instances.data.instances} />}</Asked>
      </Panel>
    </Stack>
  );
}

/** As far back as the server keeps readings, ten minutes; it says how far that really was. */
const WINDOW_SECONDS = 600;

function Measured({ agent }: { agent: string }) {
  const refetchInterval = usePolling(10_000);
  const metrics = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/metrics",
    { params: { path: { agent_id: agent }, query: { window: WINDOW_SECONDS } } },
    { refetchInterval },
  );
  const found = metrics.data;
  const serving = found?.generations.filter((each) => each.requests > 0) ?? [];
  return (
    <Panel
      title={found?.window_seconds ? `Measured over the last ${duration(found.window_seconds)}` : "Measured"}
      flush
    >
      <Asked question={metrics}>
        {serving.length ? (
          <Table aria-label="What the data plane measured" miw={560}>
            <Heads of={["Version", "Pool", "Requests", "Error rate", "95 % within", "Throughput"]} />
            <Table.Tbody>
              {serving.map((each) => (
                <Table.Tr key={each.generation}>
                  <Table.Th scope="row" className="mono">
                    {each.version}
                  </Table.Th>
                  <Table.Td>{POOLS[each.role] ?? each.role}</Table.Td>
                  <Table.Td>{count(each.requests)}</Table.Td>
                  <Table.Td>{percent(each.error_rate)}</Table.Td>
                  <Table.Td>{milliseconds(each.p95_latency_ms)}</Table.Td>
                  <Table.Td>{perSecond(each.throughput)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        ) : (
          <Empty title="No requests yet">What the data plane counts of them stands here.</Empty>
        )}
        {found && found.unserved > 0 && (
          <Text p="md" className="tone-bad">
            {count(found.unserved)} requests found no instance.
          </Text>
        )}
      </Asked>
    </Panel>
  );
}

export function Instances({ instances }: { instances: Schemas["InstanceView"][] }) {
  if (!instances.length) return <Empty title="No instance runs" />;
  return (
    <Table aria-label="Instances" miw={640}>
      <Heads of={HEADS} />
      <Table.Tbody>
        {instances.map((instance) => (
          <Row key={instance.instance} instance={instance} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** Asked for every few seconds, most of them the same. */
const Row = memo(({ instance }: { instance: Schemas["InstanceView"] }) => (
  <Table.Tr>
    <Table.Th scope="row" className="mono">
      {instance.instance}
    </Table.Th>
    <Table.Td className="mono">{instance.version}</Table.Td>
    <Table.Td>
      <InstanceStatus status={instance.status} />
      {instance.reason && (
        <Text size="sm" c="dimmed" className="cut">
          {instance.reason}
        </Text>
      )}
    </Table.Td>
    <Table.Td>{busy(instance)}</Table.Td>
    <Table.Td className="mono">{instance.pid ?? "–"}</Table.Td>
    <Table.Td>
      <Time at={instance.started_at} />
    </Table.Td>
  </Table.Tr>
));

/** What the newest version is, and that one of those there are closes a hole. */
function kinds(agent: Schemas["AgentDetail"]): string | undefined {
  const type = agent.available_versions[0]?.type;
  return agent.available_versions.some((each) => each.security || each.critical)
    ? `${type}, with a security fix`
    : type;
}

function shares(traffic: Record<string, number>): string {
  const parts = Object.entries(traffic).map(([version, share]) => `${version} ${percent(share)}`);
  return parts.join(", ") || "none";
}

export function Tile({ title, big, words }: { title: string; big: string; words?: string }) {
  return (
    <div className="tile">
      <Text size="sm" c="dimmed">
        {title}
      </Text>
      <div className="tile-big cut">{big}</div>
      {words && (
        <Text size="sm" c="dimmed" className="cut">
          {words}
        </Text>
      )}
    </div>
  );
}
