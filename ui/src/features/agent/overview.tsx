/** Who answers with which share, and every instance. */
import { SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { api, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Heads } from "../../components/heads";
import { Asked, Empty, Panel } from "../../components/panel";
import { InstanceStatus } from "../../components/status";
import { Time } from "../../components/time";
import { count, counted, percent } from "../../lib/format";

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
      <Panel title="Instances" flush>
        <Asked question={instances}>{instances.data && <Instances instances={instances.data.instances} />}</Asked>
      </Panel>
    </Stack>
  );
}

export function Instances({ instances }: { instances: Schemas["InstanceView"][] }) {
  if (!instances.length) return <Empty title="No instance runs" />;
  return (
    <Table aria-label="Instances" miw={640}>
      <Heads of={HEADS} />
      <Table.Tbody>
        {instances.map((instance) => (
          <Table.Tr key={instance.instance}>
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
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** What the newest version is, and that one of those there are closes a hole. */
function kinds(agent: Schemas["AgentDetail"]): string | undefined {
  const type = agent.available_versions[0]?.type;
  return agent.available_versions.some((each) => each.security || each.critical)
    ? `${type}, with a security fix`
    : type;
}

function busy(instance: Schemas["InstanceView"]): string {
  const parts = [
    instance.in_flight == null ? "" : counted(instance.in_flight, "request"),
    instance.active_streams ? counted(instance.active_streams, "stream") : "",
    instance.open_conversations ? counted(instance.open_conversations, "conversation") : "",
  ].filter(Boolean);
  return parts.join(", ") || "–";
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
