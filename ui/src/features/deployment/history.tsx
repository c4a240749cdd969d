/** Who did what with one deployment, and what the engine did: its entries of the audit. */
import { memo } from "react";
import { api } from "../../api/client";
import { ButtonLink } from "../../components/links";
import { Asked, Panel } from "../../components/panel";
import { AuditList } from "../audit/audit-list";

/** More than one deployment leaves, and others of its agent meanwhile. */
const ASKED = 100;
/** The entry that closes it is written a moment after its end; what belongs to it is told by its id, not by the time. */
const AFTER_MS = 60_000;

interface Props {
  agent: string;
  deployment: string;
  since: string;
  until: string | null;
}

export const History = memo(({ agent, deployment, since, until }: Props) => {
  const end = until ? new Date(Date.parse(until) + AFTER_MS).toISOString() : undefined;
  const entries = api.useQuery("get", "/api/platform/agents/{agent_id}/audit", {
    params: { path: { agent_id: agent }, query: { since, until: end, limit: ASKED } },
  });
  return (
    <Panel
      title="History"
      flush
      aside={
        <ButtonLink
          to="/agents/$agentId"
          params={{ agentId: agent }}
          search={{ tab: "audit" }}
          variant="default"
          size="compact-md"
        >
          All of the agent
        </ButtonLink>
      }
    >
      <Asked question={entries}>
        <AuditList events={(entries.data?.events ?? []).filter((entry) => entry.upgrade_id === deployment)} />
      </Asked>
    </Panel>
  );
});
