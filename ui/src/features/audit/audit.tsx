/** The history: filters in the address, page after page, checked by its hashes, taken along as CSV or JSON. */
import { Button, Group, Select, Stack, TextInput, Title } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { api, http } from "../../api/client";
import { useTitle } from "../../app/title";
import { Asked, Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { count } from "../../lib/format";
import { AuditList } from "./audit-list";
import { type AuditSearch, choices, filtersOf } from "./filters";

const route = getRouteApi("/audit");
const PAGE = 50;

export function Audit() {
  useTitle("Audit");
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const filters = filtersOf(search);
  const pages = useInfiniteQuery({
    queryKey: ["audit", search],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam }) => {
      const query = { ...filters, limit: PAGE, cursor: pageParam };
      const { data, error } = await http.GET("/api/platform/audit", { params: { query } });
      if (error) throw error;
      return data;
    },
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const set = (change: AuditSearch) => void navigate({ search: { ...search, ...change }, replace: true });
  const words = (name: "agent" | "operator" | "says", label: string) => (
    <TextInput
      label={label}
      value={search[name] ?? ""}
      onChange={(event) => set({ [name]: event.currentTarget.value || undefined })}
      w={180}
    />
  );
  const one = (name: "type" | "status", label: string, any: string) => (
    <Select
      label={label}
      data={choices(name === "type" ? "kinds" : "results", search[name])}
      value={search[name] ?? null}
      onChange={(value) => set({ [name]: value ?? undefined })}
      clearable
      clearButtonProps={{ "aria-label": any }}
      w={180}
    />
  );
  const day = (name: "since" | "until", label: string) => (
    <TextInput
      label={label}
      type="date"
      value={search[name] ?? ""}
      onChange={(event) => set({ [name]: event.currentTarget.value || undefined })}
      w={150}
    />
  );
  const file = (format: "csv" | "json") =>
    `/api/platform/audit/export?${new URLSearchParams({ format, ...(filters as Record<string, string>) })}`;
  const events = pages.data?.pages.flatMap((page) => page.events) ?? [];
  const filtered = Object.keys(filters).length > 0;
  return (
    <Stack gap="lg">
      <Group justify="space-between">
        <Title order={1}>Audit</Title>
        <Verified />
      </Group>
      <Group align="flex-end" gap="sm">
        {words("agent", "Agent")}
        {one("type", "Kind", "Any kind")}
        {words("operator", "Who")}
        {one("status", "Result", "Any result")}
        {words("says", "Reason says")}
        {day("since", "From")}
        {day("until", "To")}
        <Button component="a" variant="default" href={file("csv")}>
          Export CSV
        </Button>
        <Button component="a" variant="default" href={file("json")}>
          Export JSON
        </Button>
      </Group>
      <Panel title="Entries" flush>
        <Asked question={pages} lines={8}>
          {filtered && !events.length && !pages.hasNextPage ? (
            <Empty title="No entry is like that">
              <Button variant="default" mt="xs" onClick={() => void navigate({ search: {} })}>
                Show all
              </Button>
            </Empty>
          ) : (
            <AuditList events={events} />
          )}
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
