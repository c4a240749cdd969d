/** What is under way with an agent, for whoever wants to begin something there or waits with it: whose it is, how far, since when, and what place is theirs. */
import { Group, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { api, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { ButtonLink } from "../../components/links";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { doing, stepOf } from "../../lib/deployments";

export function useQueue(agent: string): Schemas["AgentQueueView"] | undefined {
  const refetchInterval = usePolling();
  return api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/queue",
    { params: { path: { agent_id: agent } } },
    { refetchInterval },
  ).data;
}

export function Busy({ holder, children }: { holder: Schemas["DeploymentView"]; children: ReactNode }) {
  const step = stepOf(holder);
  return (
    <section className="panel panel-body" aria-label="Under way">
      <Group justify="space-between" gap="sm">
        <div>
          <Status tone="busy">{doing(holder)}</Status>
          <Text size="sm" component="div" className="cut">
            {holder.reason}. Since <Time at={holder.started_at} />
            {step && `, ${step}`}. {children}
          </Text>
        </div>
        <ButtonLink
          to="/agents/$agentId/deployments/$upgradeId"
          params={{ agentId: holder.agent_id, upgradeId: holder.upgrade_id }}
          variant="default"
          size="compact-md"
        >
          Watch it
        </ButtonLink>
      </Group>
    </section>
  );
}

/** The place that the next one gets: 1 begins first. */
export function place(at: number): string {
  return at === 1 ? "next" : `number ${at} in the queue`;
}
