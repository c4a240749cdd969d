/** The configuration in force: each key, where it comes from, who makes a change take effect; who has it; and the changes so far. */
import { Badge, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { api, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Heads } from "../../components/heads";
import { Asked, Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { PatchDialog } from "./patch-dialog";

export function Configuration({ agent }: { agent: string }) {
  const config = api.useQuery("get", "/api/platform/agents/{agent_id}/config", {
    params: { path: { agent_id: agent } },
  });
  const history = api.useQuery("get", "/api/platform/agents/{agent_id}/config/revisions", {
    params: { path: { agent_id: agent } },
  });
  const [patching, setPatching] = useState(false);
  const why = useMay("operator", agent);
  return (
    <Stack gap="lg">
      <Panel
        title={`In force: ${config.data?.config_version ?? ""}`}
        flush
        aside={
          <Action size="compact-md" why={why} onAct={() => setPatching(true)}>
            Hot patch
          </Action>
        }
      >
        <Asked question={config}>{config.data && <Keys keys={config.data.keys} />}</Asked>
      </Panel>
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Panel title="Who has it" flush>
          <Asked question={config}>{config.data && <Holders instances={config.data.instances} />}</Asked>
        </Panel>
        <Panel title="Changes" flush>
          <Asked question={history}>{history.data && <Revisions revisions={history.data.revisions} />}</Asked>
        </Panel>
      </SimpleGrid>
      {patching && config.data && <PatchDialog agent={agent} config={config.data} onClose={() => setPatching(false)} />}
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

function Revisions({ revisions }: { revisions: Schemas["RevisionModel"][] }) {
  if (!revisions.length) return <Empty title="It was never changed" />;
  return (
    <Stack gap="sm" p="md">
      {revisions.map((each) => (
        <div key={each.config_version}>
          <Text fw={600}>
            <span className="mono">{each.config_version}</span>{" "}
            <Badge variant="outline" tt="none" c="var(--mantine-color-text)" style={{ borderColor: "var(--line)" }}>
              {each.status}
            </Badge>
          </Text>
          {Object.entries(each.config_changes).map(([key, change]) => (
            <Text key={key} size="sm" className="mono cut">
              {key}: {JSON.stringify((change as { old: unknown }).old)} →{" "}
              {JSON.stringify((change as { new: unknown }).new)}
            </Text>
          ))}
          <Text size="sm" c="dimmed" component="div" className="cut">
            {each.operator}, <Time at={each.requested_at} />: {each.reason}
          </Text>
        </div>
      ))}
    </Stack>
  );
}
