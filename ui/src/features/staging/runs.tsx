/** The staging runs of an agent, newest first. */
import { Table, Text } from "@mantine/core";
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Heads } from "../../components/heads";
import { AnchorLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { duration } from "../../lib/format";
import { RunStatus } from "./run-view";

const HEADS = ["Version", "Result", "By", "When", "Took"];

export function StagingRuns({ agent }: { agent: string }) {
  const refetchInterval = usePolling(10_000);
  const found = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/staging",
    { params: { path: { agent_id: agent }, query: { limit: 50 } } },
    { refetchInterval },
  );
  return (
    <Panel title="Staging runs" flush>
      <Asked question={found}>
        {found.data?.runs.length ? (
          <Table aria-label="Staging runs" miw={640}>
            <Heads of={HEADS} />
            <Table.Tbody>
              {found.data.runs.map((run) => (
                <Table.Tr key={run.run_id}>
                  <Table.Th scope="row">
                    <AnchorLink to="/agents/$agentId/staging/$runId" params={{ agentId: agent, runId: run.run_id }}>
                      {run.version}
                    </AnchorLink>
                  </Table.Th>
                  <Table.Td>
                    <RunStatus run={run} />
                  </Table.Td>
                  <Table.Td>
                    {run.operator}
                    <Text size="sm" c="dimmed" lineClamp={1}>
                      {run.reason}
                    </Text>
                  </Table.Td>
                  <Table.Td>
                    <Time at={run.requested_at} />
                  </Table.Td>
                  <Table.Td>{duration(run.duration_seconds)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        ) : (
          <Empty title="Nothing was tested in staging yet">The third step of an upgrade starts a run.</Empty>
        )}
      </Asked>
    </Panel>
  );
}
