/** Every instance with how it is, and of one of them, which is named in the address: its checks, its figures and the end of its log. */
import { Code, Group, Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { api, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Command } from "../../components/command";
import { Dialog } from "../../components/dialog";
import { Heads } from "../../components/heads";
import { Asked, Empty, Panel } from "../../components/panel";
import { InstanceStatus, Status } from "../../components/status";
import { Time, useNow } from "../../components/time";
import { count, duration } from "../../lib/format";
import { busy, checks, POOLS, uptime } from "./instance-words";

type Instance = Schemas["InstanceView"];
const HEADS = ["Instance", "Version", "Pool", "Health", "In flight", "Up for", "Crashes"];
const LINES = 200;

export function Instances({
  agent,
  chosen,
  onChoose,
}: {
  agent: string;
  chosen: string | undefined;
  onChoose: (instance: string | undefined) => void;
}) {
  const refetchInterval = usePolling(3000);
  const now = useNow();
  const found = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/instances",
    { params: { path: { agent_id: agent } } },
    { refetchInterval },
  );
  const instances = found.data?.instances ?? [];
  return (
    <Panel title="Instances" flush>
      <Asked question={found} lines={4}>
        {instances.length ? (
          <>
            <Table aria-label="Instances" miw={760}>
              <Heads of={HEADS} />
              <Table.Tbody>
                {instances.map((each) => (
                  <Table.Tr key={each.instance}>
                    <Table.Th scope="row">
                      <button
                        type="button"
                        className="link mono"
                        aria-haspopup="dialog"
                        onClick={() => onChoose(each.instance)}
                      >
                        {each.instance}
                      </button>
                    </Table.Th>
                    <Table.Td className="mono">{each.version}</Table.Td>
                    <Table.Td>{POOLS[each.role] ?? each.role}</Table.Td>
                    <Table.Td>
                      <InstanceStatus status={each.status} />
                      <Text size="sm" c="dimmed" className="cut">
                        {each.reason || checks(each)}
                      </Text>
                    </Table.Td>
                    <Table.Td>{count(each.in_flight)}</Table.Td>
                    <Table.Td>{duration(uptime(each, now))}</Table.Td>
                    <Table.Td>{count(each.crashes)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
            <Text size="sm" c="dimmed" px="md" py="sm">
              Crashes are those of an instance's whole generation within the last five minutes; each was started anew.
            </Text>
          </>
        ) : (
          <Empty title="No instance runs">Scale the agent, or look at its last deployment.</Empty>
        )}
      </Asked>
      {chosen && found.data && (
        <Dialog title={chosen} onClose={() => onChoose(undefined)} drawer>
          <One agent={agent} name={chosen} instance={instances.find((each) => each.instance === chosen)} />
        </Dialog>
      )}
    </Panel>
  );
}

function One({ agent, name, instance }: { agent: string; name: string; instance: Instance | undefined }) {
  const now = useNow();
  if (!instance)
    return <Empty title="It is gone">{name} was replaced or has ended. The audit says when and why.</Empty>;
  return (
    <Stack gap="lg">
      <Stack gap={4}>
        <InstanceStatus status={instance.status} />
        {instance.reason && <Text className="cut">{instance.reason}</Text>}
      </Stack>
      <Facts
        title="Health checks"
        facts={[
          ["The last on record", <Time key="probed" at={instance.probed_at} />],
          ["Outcome", checks(instance) || "none yet"],
          ["It says of itself", instance.says || "nothing"],
        ]}
      />
      <Facts
        title="The instance"
        facts={[
          ["Version", instance.version],
          ["Pool", `${POOLS[instance.role] ?? instance.role}, generation ${instance.generation}`],
          ["Address", instance.port ? `${instance.host}:${instance.port}` : "–"],
          ["Process", instance.pid == null ? "–" : String(instance.pid)],
          ["Started", <Time key="started" at={instance.started_at} />],
          ["First healthy", <Time key="ready" at={instance.ready_at} />],
          ["Up for", duration(uptime(instance, now))],
          ["Busy with", busy(instance)],
          ...(instance.exit_code == null ? [] : [["Ended with", String(instance.exit_code)] as [string, string]]),
          ...(instance.drain_seconds_left == null
            ? []
            : [["What is open is cut in", duration(instance.drain_seconds_left)] as [string, string]]),
        ]}
      />
      <Figures agent={agent} name={name} />
      <Log agent={agent} name={name} />
    </Stack>
  );
}

function Facts({ title, facts }: { title: string; facts: [string, ReactNode][] }) {
  return (
    <section aria-label={title}>
      <Text component="h3" fw={650} mb={4}>
        {title}
      </Text>
      {facts.map(([what, value]) => (
        <Group key={what} justify="space-between" wrap="nowrap" align="baseline">
          <Text c="dimmed">{what}</Text>
          <Text component="div" className="cut" ta="right">
            {value}
          </Text>
        </Group>
      ))}
    </section>
  );
}

function Figures({ agent, name }: { agent: string; name: string }) {
  const refetchInterval = usePolling(5000);
  const metrics = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/metrics",
    { params: { path: { agent_id: agent }, query: { window: 60 } } },
    { refetchInterval },
  );
  const found = metrics.data?.instances.find((each) => each.instance === name);
  return (
    <Facts
      title="Counted by the data plane, since its counters began"
      facts={[
        ["Requests", count(found?.requests)],
        ["Errors", count(found?.errors)],
      ]}
    />
  );
}

function Log({ agent, name }: { agent: string; name: string }) {
  const refetchInterval = usePolling(5000);
  const logs = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/logs",
    { params: { path: { agent_id: agent }, query: { instance: name, lines: LINES } } },
    { refetchInterval },
  );
  const lines = logs.data?.lines ?? [];
  return (
    <section aria-label="Log">
      <Group justify="space-between" mb={4}>
        <Text component="h3" fw={650}>
          The end of its log
        </Text>
        {lines.length >= LINES && <Status tone="quiet">{`The last ${LINES} lines`}</Status>}
      </Group>
      <Asked question={logs}>
        {lines.length ? (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard
          // biome-ignore lint/a11y/useSemanticElements: nothing here is filled in, so it is no fieldset
          <div tabIndex={0} role="group" aria-label={`Log of ${name}, oldest first`} className="log">
            <Code block className="cut">
              {lines.map((each) => each.line).join("\n")}
            </Code>
          </div>
        ) : (
          <Text c="dimmed">It has written nothing.</Text>
        )}
      </Asked>
      <Text size="sm" c="dimmed" className="cut">
        As a command: <Command>{`servicing logs ${agent} --instance ${name}`}</Command>
      </Text>
    </section>
  );
}
