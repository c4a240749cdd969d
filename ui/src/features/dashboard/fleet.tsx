/** All agents, a page of them at a time. What is searched for, in which order, and which page is in the address. */
import { Group, Select, Stack, Switch, TextInput, Title } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";
import { AGENT_ORDERS, type FleetSearch } from "../../app/search";
import { useTitle } from "../../app/title";
import { Pages } from "../../components/pages";
import { Asked, Empty, Panel } from "../../components/panel";
import { count } from "../../lib/format";
import { Bulk, Choose } from "../bulk/bulk";
import { RollbackDialog } from "../rollback/lazy";
import { AgentsTable } from "./agents-table";

const route = getRouteApi("/agents");
const ON_A_PAGE = 50;
const TYPING_MS = 200;
const ORDERS: Record<(typeof AGENT_ORDERS)[number], string> = {
  health: "Worst health first",
  update: "Most urgent update first",
  deployed: "Newest deployment first",
};

export function Fleet() {
  useTitle("Agents");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const refetchInterval = usePolling();
  const { q, sort = "agent_id", attention = false, after: cursor } = search;
  const agents = api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: ON_A_PAGE, q, sort, attention, cursor } } },
    { refetchInterval, placeholderData: keepPreviousData },
  );
  const found = agents.data?.agents ?? [];
  const total = agents.data?.total ?? 0;
  // Another question begins on its first page.
  const ask = (change: FleetSearch) =>
    void navigate({ search: (before) => ({ ...before, after: undefined, ...change }), replace: true });
  const onRollback = (agent: string | undefined) =>
    void navigate({ search: (before) => ({ ...before, rollback: agent }) });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const outdated = found.filter((agent) => agent.update_available).map((agent) => agent.agent_id);
  return (
    <Stack gap="lg">
      <Title order={1}>Agents</Title>
      <Group align="flex-end" gap="md">
        <Words key="words" of={q ?? ""} onWords={(words) => ask({ q: words || undefined })} />
        <Select
          label="Order"
          data={[
            { value: "agent_id", label: "By name" },
            ...AGENT_ORDERS.map((value) => ({ value, label: ORDERS[value] })),
          ]}
          value={sort}
          allowDeselect={false}
          onChange={(value) => ask({ sort: AGENT_ORDERS.find((order) => order === value) })}
          w={240}
        />
        <Switch
          label="Only what needs attention"
          checked={attention}
          onChange={(event) => ask({ attention: event.currentTarget.checked || undefined })}
          pb={8}
        />
      </Group>
      <Bulk chosen={chosen} onChosen={setChosen} outdated={outdated} />
      <Panel title={total === 1 ? "1 agent" : `${count(total)} agents`} flush>
        <Asked question={agents} lines={8}>
          {found.length ? (
            <AgentsTable
              agents={found}
              onRollback={onRollback}
              lead={(agent) => <Choose agent={agent} {...{ chosen, setChosen }} />}
            />
          ) : (
            <Empty title={q ? `No agent matches “${q}”` : attention ? "No agent needs attention" : "No agent yet"} />
          )}
        </Asked>
      </Panel>
      <Pages
        after={cursor}
        next={agents.data?.next_cursor}
        words={`${count(found.length)} of ${count(total)} agents on this page`}
        onGo={(after) => void navigate({ search: (before) => ({ ...before, after }) })}
      />
      {search.rollback && <RollbackDialog agent={search.rollback} onClose={() => onRollback(undefined)} />}
    </Stack>
  );
}

/** Typed here at once, asked for when the typing pauses. */
function Words({ of, onWords }: { of: string; onWords: (words: string) => void }) {
  const [words, setWords] = useState(of);
  const settle = useDebouncedCallback(onWords, TYPING_MS);
  // The address may change by itself: Back, or the same page entered anew.
  useEffect(() => setWords(of), [of]);
  return (
    <TextInput
      label="Search"
      w={320}
      maw="100%"
      value={words}
      onChange={(event) => {
        setWords(event.currentTarget.value);
        settle(event.currentTarget.value);
      }}
    />
  );
}
