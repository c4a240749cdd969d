/** The configuration in force: each key, where it comes from, who makes a change take effect; who has it; and the changes so far. */
import { Badge, Group, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { api, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Diff } from "../../components/diff";
import { Heads } from "../../components/heads";
import { ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { type Changes, sidesOf } from "../../lib/lines";
import { TakeBack } from "../hot-patch/take-back";

export function Configuration({ agent }: { agent: string }) {
  const config = api.useQuery("get", "/api/platform/agents/{agent_id}/config", {
    params: { path: { agent_id: agent } },
  });
  const history = api.useQuery("get", "/api/platform/agents/{agent_id}/config/revisions", {
    params: { path: { agent_id: agent } },
  });
  return (
    <Stack gap="lg">
      <Panel
        title={`In force: ${config.data?.config_version ?? ""}`}
        flush
        aside={
          <ButtonLink to="/agents/$agentId/hot-patch" params={{ agentId: agent }} size="compact-md">
            Hot patch
          </ButtonLink>
        }
      >
        <Asked question={config}>{config.data && <Keys keys={config.data.keys} />}</Asked>
      </Panel>
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Panel title="Who has it" flush>
          <Asked question={config}>{config.data && <Holders instances={config.data.instances} />}</Asked>
        </Panel>
        <Panel title="Changes" flush>
          <Asked question={history}>
            {history.data && (
              <Revisions agent={agent} now={config.data?.config_version} revisions={history.data.revisions} />
            )}
          </Asked>
        </Panel>
      </SimpleGrid>
    </Stack>
  );
}

function Keys({ keys }: { keys: Schemas["ConfigModel"]["keys"] }) {
  if (!keys.length)
    return <Empty title="This agent has no configuration">A schema in its manifest makes it patchable.</Empty>;
  return (
    <Table aria-label="Configuration" miw={560}>
      <Heads of={["Key", "Value", "From", "Takes effect by"]} />
      <Table.Tbody>
        {keys.map((key) => (
          <Table.Tr key={key.key}>
            <Table.Th scope="row" className="mono cut">
              {key.key}
              {key.description && (
                <Text size="sm" c="dimmed" ff="text">
                  {key.description}
                </Text>
              )}
            </Table.Th>
            <Table.Td className="mono cut">{JSON.stringify(key.value)}</Table.Td>
            <Table.Td>{key.layer}</Table.Td>
            <Table.Td>{key.applied_by}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Holders({ instances }: { instances: Schemas["ConfigModel"]["instances"] }) {
  if (!instances.length) return <Empty title="No instance runs" />;
  return (
    <Table aria-label="Instances and their configuration" miw={420}>
      <Table.Tbody>
        {instances.map((each) => (
          <Table.Tr key={each.instance}>
            <Table.Th scope="row" className="mono">
              {each.instance}
            </Table.Th>
            <Table.Td>
              <Status tone={each.status === "in_sync" ? "good" : "warn"}>
                {String(each.status).replaceAll("_", " ")}
              </Status>
            </Table.Td>
            <Table.Td>
              <Text size="sm" c="dimmed">
                {each.known_by}
              </Text>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

type Revision = Schemas["RevisionModel"];

function Revisions({ agent, now, revisions }: { agent: string; now?: string; revisions: Revision[] }) {
  const why = useMay("operator", agent);
  const [back, setBack] = useState<Revision | null>(null);
  if (!revisions.length) return <Empty title="It was never changed" />;
  return (
    <Stack gap="md" p="md">
      {revisions.map((each) => (
        <Stack key={each.config_version} gap={4}>
          <Group justify="space-between" gap="xs">
            <Text fw={600}>
              <span className="mono">{each.config_version}</span>{" "}
              <Badge variant="outline" tt="none" c="var(--mantine-color-text)" style={{ borderColor: "var(--line)" }}>
                {each.config_version === now ? "in force" : each.status}
              </Badge>
            </Text>
            {each.status === "applied" && each.config_version !== now && (
              <Action size="compact-sm" variant="default" why={why} onAct={() => setBack(each)}>
                {`Bring ${each.config_version} back`}
              </Action>
            )}
          </Group>
          <Diff {...sidesOf(each.config_changes as Changes)} label={`What ${each.config_version} changed`} />
          <Text size="sm" c="dimmed" component="div" className="cut">
            {each.operator}, <Time at={each.requested_at} />: {each.reason}
            {each.restored_from ? ` (brings ${each.restored_from} back)` : ""}
          </Text>
          {each.message && each.status !== "applied" && (
            <Text size="sm" className="tone-bad cut">
              {each.message}
            </Text>
          )}
        </Stack>
      ))}
      {back && <TakeBack agent={agent} target={back.config_version} onClose={() => setBack(null)} />}
    </Stack>
  );
}
