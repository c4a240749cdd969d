/** Every upgrade, rollback and restart of an agent, newest first. */
import { Table, Text } from "@mantine/core";
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Cards } from "../../components/cards";
import { AnchorLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { DeploymentStatus } from "../../components/status";
import { Time } from "../../components/time";
import { duration } from "../../lib/format";

const HEADS = ["Deployment", "From → to", "Status", "By", "When", "Took"];

export function Deployments({ agent }: { agent: string }) {
  const refetchInterval = usePolling();
  const found = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/upgrades",
    { params: { path: { agent_id: agent }, query: { limit: 50 } } },
    { refetchInterval },
  );
  return (
    <Panel title="Deployments" flush>
      <Asked question={found}>
        {found.data?.upgrades.length ? (
          <Cards label="Deployments" heads={HEADS} least={720}>
            {found.data.upgrades.map((each) => (
              <Table.Tr key={each.upgrade_id}>
                <Table.Th scope="row">
                  <AnchorLink
                    to="/agents/$agentId/deployments/$upgradeId"
                    params={{ agentId: agent, upgradeId: each.upgrade_id }}
                  >
                    {each.kind === "upgrade" ? each.strategy : each.kind}
                  </AnchorLink>
                </Table.Th>
                <Table.Td className="mono">
                  {each.from_version ?? "–"} → {each.to_version}
                </Table.Td>
                <Table.Td>
                  <DeploymentStatus status={each.status} />
                </Table.Td>
                <Table.Td>
                  {each.operator}
                  <Text size="sm" c="dimmed" lineClamp={1}>
                    {each.reason}
                  </Text>
                </Table.Td>
                <Table.Td>
                  <Time at={each.requested_at} />
                </Table.Td>
                <Table.Td>{duration(each.duration_seconds)}</Table.Td>
              </Table.Tr>
            ))}
          </Cards>
        ) : (
          <Empty title="Nothing was deployed yet" />
        )}
      </Asked>
    </Panel>
  );
}
