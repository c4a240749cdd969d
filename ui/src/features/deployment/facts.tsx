/** Who wanted a deployment and why, what keeps it, and why it was rolled back. */
import { Stack, Text } from "@mantine/core";
import { memo } from "react";
import type { Schemas } from "../../api/client";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { isWaiting } from "../../lib/deployments";
import { absolute, count, duration, stageName } from "../../lib/format";
import { Busy, place, useQueue } from "../agent/busy";
import { LockBanner } from "../agent/lock";

type Deployment = Schemas["DeploymentView"];

export function Facts({ deployment, over }: { deployment: Deployment; over: boolean }) {
  return (
    <Text c="dimmed" component="div" className="cut">
      {deployment.operator}: {deployment.reason}.{" "}
      {deployment.started_at ? (
        <>
          Started <Time at={deployment.started_at} />, {over ? "took" : "running for"}{" "}
          {duration(deployment.duration_seconds)}
          {over ? "" : `, about ${Math.max(1, Math.round(deployment.estimated_duration_minutes))} min in all`}.
        </>
      ) : deployment.scheduled_at ? (
        <>Begins {absolute(deployment.scheduled_at)}.</>
      ) : null}{" "}
      {deployment.message === deployment.rollback?.reason ? "" : deployment.message}
    </Text>
  );
}

/** What keeps it from beginning, or from being steered: somebody's lock, and what is under way before it. */
export function Held({ deployment }: { deployment: Deployment }) {
  const { agent_id: agent, status } = deployment;
  const queue = useQueue(agent);
  const before = queue?.holder?.upgrade_id === deployment.upgrade_id ? null : queue?.holder;
  return (
    <>
      <LockBanner
        agent={agent}
        meanwhile={
          isWaiting(status)
            ? "This begins no earlier, unless it is the holder's own."
            : "Until then only the holder resumes and advances this; everybody may pause, cancel and roll back."
        }
      />
      {before && status === "queued" && (
        <Busy holder={before}>This waits its turn and is {place(deployment.queue_position ?? 1)}.</Busy>
      )}
    </>
  );
}

/** Why it was rolled back stays readable for ever: which rule, which value, which limit, when. */
export const Cause = memo(({ cause }: { cause: Schemas["RollbackCauseView"] }) => {
  return (
    <Panel title="Rollback">
      <Stack gap={4} role="alert">
        <Status tone="bad">{cause.reason}</Status>
        <Text size="sm" c="dimmed" component="div">
          {cause.auto_triggered ? "By the engine" : `By ${cause.operator}`}
          {cause.stage ? `, while: ${stageName(cause.stage)}` : ""}
          {cause.requests != null
            ? `, seen in ${count(cause.requests)} requests within ${duration(cause.window_seconds)}`
            : ""}
          , <Time at={cause.triggered_at} />
        </Text>
      </Stack>
    </Panel>
  );
});
