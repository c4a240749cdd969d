/** What is under way, as cards that it can be steered from, and what begins next. */
import { Group, SimpleGrid, Stack, Text } from "@mantine/core";
import type { Schemas } from "../../api/client";
import { Action } from "../../components/action";
import { AnchorLink, ButtonLink } from "../../components/links";
import { Panel } from "../../components/panel";
import { DeploymentStatus } from "../../components/status";
import { Time } from "../../components/time";
import { Traffic } from "../../components/traffic";
import { isWaiting } from "../../lib/deployments";
import { absolute, count, duration, stageName } from "../../lib/format";
import { useSteering } from "../deployment/steering";
import { isUnapproved } from "../operations/under-way";

type Deployment = Schemas["DeploymentView"];

interface Props {
  deployments: Deployment[];
  /** How many there are, with those that are not shown. */
  total: number;
  onRollback: (agent: string) => void;
}

export function Running({ deployments, total, onRollback }: Props) {
  if (!deployments.length) return null;
  return (
    <Panel title="Running now" aside={total > deployments.length && <All state="running" total={total} />}>
      <SimpleGrid cols={{ base: 1, md: Math.min(deployments.length, 2) }}>
        {deployments.map((deployment) => (
          <Card key={deployment.upgrade_id} deployment={deployment} onRollback={onRollback} />
        ))}
      </SimpleGrid>
    </Panel>
  );
}

function All({ state, total }: { state: "running" | "upcoming"; total: number }) {
  return (
    <ButtonLink to="/deployments" search={{ state }} variant="default" size="compact-md">
      {`All ${count(total)}`}
    </ButtonLink>
  );
}

function Card({ deployment, onRollback }: { deployment: Deployment; onRollback: (agent: string) => void }) {
  const { agent_id: agentId, upgrade_id: upgradeId } = deployment;
  return (
    <section className="tile" aria-label={`${agentId} to ${deployment.to_version}`}>
      <Stack gap="sm">
        <Group justify="space-between">
          <Text fw={650}>
            {agentId}{" "}
            <span className="mono">
              {deployment.from_version ?? ""} → {deployment.to_version}
            </span>
          </Text>
          <DeploymentStatus status={deployment.status} />
        </Group>
        <Traffic blue={deployment.metrics.blue} green={deployment.metrics.green} words={false} />
        <Group justify="space-between">
          <Text size="sm" c="dimmed">
            {deployment.current_stage ? stageName(deployment.current_stage) : deployment.message || deployment.strategy}
            {deployment.duration_seconds === null ? "" : `, ${duration(deployment.duration_seconds)}`}
          </Text>
          <Group gap="xs">
            <ButtonLink
              to="/agents/$agentId/deployments/$upgradeId"
              params={{ agentId, upgradeId }}
              size="compact-md"
              variant="default"
            >
              Open
            </ButtonLink>
            {!isWaiting(deployment.status) && (
              <Steer deployment={deployment} onRollback={() => onRollback(deployment.agent_id)} />
            )}
          </Group>
        </Group>
      </Stack>
    </section>
  );
}

function Steer({ deployment, onRollback }: { deployment: Deployment; onRollback: () => void }) {
  const { pending, whyNot, lockedOut, busy, atOnce } = useSteering(deployment);
  const looks = { size: "compact-md", variant: "default" } as const;
  const other = deployment.kind === "upgrade" ? "" : "It brings no new version. Open it to cancel it.";
  return (
    <>
      {deployment.status === "paused" ? (
        <Action {...looks} why={whyNot || lockedOut || busy} onAct={() => void atOnce("resume")}>
          {pending === "resume" ? "Resuming…" : "Resume"}
        </Action>
      ) : (
        <Action {...looks} why={whyNot || busy} onAct={() => void atOnce("pause")}>
          {pending === "pause" ? "Pausing…" : "Pause"}
        </Action>
      )}
      <Action size="compact-md" color="danger" why={whyNot || other} onAct={onRollback}>
        Roll back
      </Action>
    </>
  );
}

/** What begins by itself. */
export function ComingUp({ deployments, total }: { deployments: Deployment[]; total: number }) {
  if (!deployments.length) return null;
  return (
    <Panel title="Coming up" aside={total > deployments.length && <All state="upcoming" total={total} />}>
      <ul className="steps" aria-label="Coming up">
        {deployments.map((deployment) => (
          <li key={deployment.upgrade_id} className="case">
            <Group justify="space-between" gap="2px 16px">
              <AnchorLink
                to="/agents/$agentId/deployments/$upgradeId"
                params={{ agentId: deployment.agent_id, upgradeId: deployment.upgrade_id }}
              >
                {deployment.agent_id} to {deployment.to_version}
              </AnchorLink>
              <Text size="sm" component="div">
                {deployment.scheduled_at && absolute(deployment.scheduled_at)}, <Time at={deployment.scheduled_at} />
              </Text>
            </Group>
            {isUnapproved(deployment) && (
              <Text size="sm" className="tone-warn">
                A second person has to approve it first.
              </Text>
            )}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
