/** The history: filters in the address, page after page, checked by its hashes, taken along as CSV or JSON. */
import { Button, Group, Select, Stack, TextInput, Title } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { api, http } from "../../api/client";
import type { AuditSearch } from "../../app/router";
import { useTitle } from "../../app/title";
import { Asked, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { count } from "../../lib/format";
import { AuditList } from "./audit-list";

const route = getRouteApi("/audit");
const PAGE = 50;
const KINDS = ["upgrade", "rollback", "config_patch", "restart", "scale", "agent_added", "token_created"];

export function Audit() {
  useTitle("Audit");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { agent, type, operator, status } = search;
  const pages = useInfiniteQuery({
    queryKey: ["audit", search],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam }) => {
      const query = { agent, type, operator, status, limit: PAGE, cursor: pageParam };
      const { data, error } = await http.GET("/api/platform/audit", { params: { query } });
      if (error) throw error;
      return data;
    },
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const set = (change: AuditSearch) => void navigate({ search: { ...search, ...change }, replace: true });
  const filters = new URLSearchParams(
    Object.entries(search).filter((pair): pair is [string, string] => Boolean(pair[1])),
  );
  const events = pages.data?.pages.flatMap((page) => page.events) ?? [];
  return (
    <Stack gap="lg">
      <Group justify="space-between">
        <Title order={1}>Audit</Title>
        <Verified />
      </Group>
      <Group align="flex-end" gap="sm">
        <TextInput
          label="Agent"
          value={agent ?? ""}
          onChange={(event) => set({ agent: event.currentTarget.value || undefined })}
          w={180}
        />
        <Select
          label="Kind"
          data={KINDS.map((kind) => ({ value: kind, label: kind.replaceAll("_", " ") }))}
          value={type ?? null}
          onChange={(value) => set({ type: value ?? undefined })}
          clearable
          clearButtonProps={{ "aria-label": "Any kind" }}
          w={180}
        />
        <TextInput
          label="Who"
          value={operator ?? ""}
          onChange={(event) => set({ operator: event.currentTarget.value || undefined })}
          w={180}
        />
        <Button component="a" variant="default" href={`/api/platform/audit/export?format=csv&${filters}`}>
          Export CSV
        </Button>
        <Button component="a" variant="default" href={`/api/platform/audit/export?format=json&${filters}`}>
          Export JSON
        </Button>
      </Group>
      <Panel title="Entries" flush>
        <Asked question={pages} lines={8}>
          <AuditList events={events} />
        </Asked>
      </Panel>
      {pages.hasNextPage && (
        <Button
          variant="default"
          w="fit-content"
          loading={pages.isFetchingNextPage}
          onClick={() => void pages.fetchNextPage()}
        >
          Older ones
        </Button>
      )}
    </Stack>
  );
}

function Verified() {
  const check = api.useQuery("get", "/api/platform/audit/verify", {}, { staleTime: 60_000 });
  if (!check.data) return null;
  const { valid, entries, broken_at: brokenAt } = check.data;
  return (
    <Status tone={valid ? "good" : "bad"}>
      {valid ? `${count(entries)} entries, hash chain verified` : `Hash chain broken at ${brokenAt}`}
    </Status>
  );
}
