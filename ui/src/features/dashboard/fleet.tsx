/** All agents, to search in. The search is in the address. */
import { Stack, TextInput, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useTitle } from "../../app/title";
import { Asked, Empty, Panel } from "../../components/panel";
import { Bulk, Choose } from "../bulk/bulk";
import { RollbackDialog } from "../rollback/lazy";
import { AgentsTable } from "./agents-table";

const route = getRouteApi("/agents");

export function Fleet() {
  useTitle("Agents");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const refetchInterval = usePolling();
  const agents = api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: 200 } } },
    { refetchInterval },
  );
  const wanted = (search.q ?? "").toLowerCase();
  const found = (agents.data?.agents ?? []).filter((agent) =>
    `${agent.agent_id} ${agent.description} ${agent.owner}`.toLowerCase().includes(wanted),
  );
  const onRollback = (agent: string | undefined) =>
    void navigate({ search: (before) => ({ ...before, rollback: agent }) });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const outdated = found.filter((agent) => agent.update_available).map((agent) => agent.agent_id);
  return (
    <Stack gap="lg">
      <Title order={1}>Agents</Title>
      <TextInput
        label="Search"
        maw={320}
        value={search.q ?? ""}
        onChange={(event) => void navigate({ search: { q: event.currentTarget.value || undefined }, replace: true })}
      />
      <Bulk chosen={chosen} onChosen={setChosen} outdated={outdated} />
      <Panel title={`${found.length} agents`} flush>
        <Asked question={agents} lines={8}>
          {found.length ? (
            <AgentsTable
              agents={found}
              onRollback={onRollback}
              lead={(agent) => <Choose agent={agent} {...{ chosen, setChosen }} />}
            />
          ) : (
            <Empty title={wanted ? `No agent matches “${search.q}”` : "No agent yet"} />
          )}
        </Asked>
      </Panel>
      {search.rollback && <RollbackDialog agent={search.rollback} onClose={() => onRollback(undefined)} />}
    </Stack>
  );
}
