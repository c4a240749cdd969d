/** The agents: what runs, what could run, how they are, and what can be done about it. */
import { Badge, Group, Stack, Table, Text } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Cards } from "../../components/cards";
import { AnchorLink } from "../../components/links";
import { DeploymentStatus, Health } from "../../components/status";
import { Time } from "../../components/time";
import { isOver } from "../../lib/deployments";

type Agent = Schemas["AgentSummary"];
const HEADS = ["Agent", "Current", "Available", "Health", "Last updated", "Actions"];

interface Props {
  onRollback: (agent: string) => void;
  /** Put before the name of each. */
  lead?: (agent: string) => ReactNode;
}

export function AgentsTable({ agents, ...more }: Props & { agents: Agent[] }) {
  return (
    <Cards label="Agents" heads={HEADS} least={760}>
      {agents.map((agent) => (
        <Row key={agent.agent_id} agent={agent} {...more} />
      ))}
    </Cards>
  );
}

function Row({ agent, onRollback, lead }: Props & { agent: Agent }) {
  const navigate = useNavigate();
  const why = useMay("operator", agent.agent_id);
  const params = { agentId: agent.agent_id };
  const running = agent.deployment && !isOver(agent.deployment.status) ? agent.deployment : null;
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {lead?.(agent.agent_id)}
        <AnchorLink to="/agents/$agentId" params={params} fw={650}>
          {agent.agent_id}
        </AnchorLink>
        <Text size="sm" c="dimmed" fw={400} lineClamp={1}>
          {agent.description}
        </Text>
      </Table.Th>
      <Table.Td className="mono">{agent.current_version ?? "–"}</Table.Td>
      <Table.Td>{running ? <Running deployment={running} /> : <Available agent={agent} />}</Table.Td>
      <Table.Td>
        <Health status={agent.health.status} />
        <Text size="sm" c="dimmed">
          {agent.health.ready} of {agent.health.desired} ready
        </Text>
      </Table.Td>
      <Table.Td>
        <Time at={agent.current_deployed_at} />
      </Table.Td>
      <Table.Td>
        <Group gap="xs" wrap="nowrap">
          <Action
            size="compact-md"
            variant={agent.update_available ? "filled" : "default"}
            onAct={() => void navigate({ to: "/agents/$agentId", params, search: { tab: "versions" } })}
          >
            {agent.update_available ? "Upgrade" : "Versions"}
          </Action>
          <Action size="compact-md" variant="default" why={why} onAct={() => onRollback(agent.agent_id)}>
            Roll back
          </Action>
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function Running({ deployment }: { deployment: Schemas["DeploymentView"] }) {
  const { agent_id: agentId, upgrade_id: upgradeId } = deployment;
  return (
    <Stack gap={2}>
      <DeploymentStatus status={deployment.status} />
      <AnchorLink to="/agents/$agentId/deployments/$upgradeId" params={{ agentId, upgradeId }} className="mono">
        → {deployment.to_version}
      </AnchorLink>
    </Stack>
  );
}

/** The newest of what is there, and what kinds there are: words first, colour on top. */
function Available({ agent }: { agent: Agent }) {
  const newest = agent.available_versions[0];
  if (!newest)
    return (
      <Text size="sm" c="dimmed">
        Up to date
      </Text>
    );
  const security = agent.available_versions.some((each) => each.security || each.critical);
  return (
    <Group gap={6}>
      <span className="mono">{newest.version}</span>
      <Badge
        variant="outline"
        tt="none"
        c="var(--mantine-color-text)"
        style={{ borderColor: "var(--line)", flex: "none" }}
      >
        {newest.type}
      </Badge>
      {security && (
        <Badge tt="none" variant="outline" c="var(--tone-bad)" style={{ borderColor: "var(--tone-bad)", flex: "none" }}>
          security
        </Badge>
      )}
    </Group>
  );
}
