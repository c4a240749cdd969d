/** Any two versions of an agent: what came between them, what breaks, and how each did. Both are in the address. */
import { Button, Group, Select, Stack, Table, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, isRefusal, type Schemas } from "../../api/client";
import { useTitle } from "../../app/title";
import { AnchorLink, ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Refused } from "../../components/refused";
import { Tested } from "../../components/tested";
import { date, NONE, percent } from "../../lib/format";
import { between } from "./between";
import { VersionDifferences } from "./version-differences";
import { Changelog } from "./versions";

type Version = Schemas["VersionView"];

const route = getRouteApi("/agents/$agentId/compare");

export function Compare() {
  const { agentId } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const versions = api.useQuery("get", "/api/platform/agents/{agent_id}/versions", {
    params: { path: { agent_id: agentId } },
  });
  const found = versions.data?.versions ?? [];
  const from = search.from ?? versions.data?.current_version ?? found.at(-1)?.version;
  const to = search.to ?? found.find((each) => each.version !== from)?.version;
  const one = found.find((each) => each.version === from);
  const other = found.find((each) => each.version === to);
  useTitle(`Compare ${agentId}`, from && to ? `${from} and ${to}` : undefined);
  const set = (part: { from?: string; to?: string }) => void navigate({ search: { from, to, ...part }, replace: true });
  const names = found.slice(0, 500).map((each) => each.version);
  if (!versions.data && isRefusal(versions.error)) return <Refused error={versions.error} />;
  return (
    <Stack gap="lg">
      <div>
        <Text size="sm" c="dimmed">
          <AnchorLink to="/agents/$agentId" params={{ agentId }} search={{ tab: "versions" }}>
            {agentId}
          </AnchorLink>
          , versions
        </Text>
        <Title order={1}>Compare versions of {agentId}</Title>
      </div>
      <Group align="flex-end">
        <Select
          label="From"
          data={names}
          value={from ?? null}
          allowDeselect={false}
          onChange={(v) => v && set({ from: v })}
        />
        <Select
          label="To"
          data={names}
          value={to ?? null}
          allowDeselect={false}
          onChange={(v) => v && set({ to: v })}
        />
        <Button variant="default" onClick={() => set({ from: to, to: from })}>
          The other way round
        </Button>
        {other?.upgradable && (
          <ButtonLink to="/agents/$agentId/upgrade" params={{ agentId }} search={{ version: other.version }}>
            Upgrade to {other.version}
          </ButtonLink>
        )}
      </Group>
      <Asked question={versions} lines={8}>
        {one && other ? (
          <Both agent={agentId} one={one} other={other} all={found} />
        ) : (
          <Panel title="Compared">
            <Empty title="Choose two versions that there are" />
          </Panel>
        )}
      </Asked>
    </Stack>
  );
}

function Both({ agent, one, other, all }: { agent: string; one: Version; other: Version; all: Version[] }) {
  const { versions, back } = between(all, one.version, other.version);
  const breaking = versions.flatMap((each) => each.breaking_changes.map((note) => `${each.version}: ${note}`));
  const rows: [string, (version: Version) => ReactNode][] = [
    ["Released", (version) => (version.release_date ? date(version.release_date) : NONE)],
    ["By", (version) => version.author || NONE],
    ["Kind", (version) => (version.security_patch ? `${version.type}, security` : version.type)],
    ["Deployed", (version) => `${version.deployment_count} ×`],
    ["Went well", (version) => percent(version.success_rate)],
    [
      "Tests",
      (version) =>
        Object.keys(version.test_results).length ? <Tested agent={agent} results={version.test_results} /> : NONE,
    ],
    ["Standing", (version) => version.standing],
  ];
  return (
    <>
      <Panel title="Side by side" flush>
        <Table aria-label="Both versions" miw={520} layout="fixed">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col" w={120}>
                What
              </Table.Th>
              <Table.Th scope="col">{one.version}</Table.Th>
              <Table.Th scope="col">{other.version}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map(([name, of]) => (
              <Table.Tr key={name}>
                <Table.Th scope="row">{name}</Table.Th>
                <Table.Td className="cut">{of(one)}</Table.Td>
                <Table.Td className="cut">{of(other)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Panel>
      <Panel title="Configuration and manifest">
        <VersionDifferences agent={agent} from={one.version} to={other.version} />
      </Panel>
      <Panel title={back ? "What would be lost" : "What would come"}>
        <Stack gap="md">
          {breaking.length > 0 && (
            <div>
              <Text fw={600}>Breaking changes{back ? " that would be taken back" : ""}</Text>
              {breaking.map((note) => (
                <Text key={note} className="tone-warn cut">
                  {note}
                </Text>
              ))}
            </div>
          )}
          {versions.map((each) => (
            <div key={each.version}>
              <Title order={3} className="mono">
                {each.version}
              </Title>
              {each.summary && <Text className="cut">{each.summary}</Text>}
              {Object.keys(each.changelog).length ? (
                <Changelog changelog={each.changelog} />
              ) : (
                <Text c="dimmed">It has no changelog.</Text>
              )}
            </div>
          ))}
          {versions.length === 0 && <Text>They are the same version.</Text>}
        </Stack>
      </Panel>
    </>
  );
}
