/** One agent: how it is, its versions, its deployments, its configuration, its history. The tab is in the address. */
import { Group, Stack, Tabs, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { api, isRefusal } from "../../api/client";
import { usePolling } from "../../app/polling";
import type { Tab } from "../../app/router";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { ButtonLink } from "../../components/links";
import { Asked, Panel } from "../../components/panel";
import { Refused } from "../../components/refused";
import { DeploymentStatus, Health } from "../../components/status";
import { isOver } from "../../lib/deployments";
import { AuditList } from "../audit/audit-list";
import { RollbackDialog } from "../rollback/rollback-dialog";
import { StagingRuns } from "../staging/runs";
import { Configuration } from "./configuration";
import { Deployments } from "./deployments";
import { Instances } from "./instances";
import { LockBanner } from "./lock";
import { More } from "./manage";
import { Overview } from "./overview";
import { State } from "./state";
import { Versions } from "./versions";

const route = getRouteApi("/agents/$agentId");

const TABS: Record<Tab, string> = {
  overview: "Overview",
  versions: "Versions",
  instances: "Instances",
  deployments: "Deployments",
  staging: "Staging",
  config: "Configuration",
  state: "State",
  audit: "Audit",
};

export function Agent() {
  const { agentId } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const refetchInterval = usePolling();
  const agent = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}",
    { params: { path: { agent_id: agentId } } },
    { refetchInterval },
  );
  const why = useMay("operator", agentId);
  useTitle(agentId, agent.data?.current_version);
  const tab = search.tab ?? "overview";
  const running = agent.data?.deployment;
  if (!agent.data && isRefusal(agent.error)) return <Refused error={agent.error} />;
  return (
    <Stack gap="lg">
      <Group justify="space-between">
        <div>
          <Group gap="md">
            <Title order={1}>{agentId}</Title>
            {agent.data && <Health status={agent.data.health.status} />}
          </Group>
          {agent.data && (
            <Text c="dimmed" className="cut">
              <span className="mono">{agent.data.current_version ?? "no version"}</span>
              {agent.data.description ? `, ${agent.data.description}` : ""}
            </Text>
          )}
        </div>
        <Group gap="sm">
          {running && !isOver(running.status) && (
            <ButtonLink
              to="/agents/$agentId/deployments/$upgradeId"
              params={{ agentId, upgradeId: running.upgrade_id }}
              variant="default"
            >
              <DeploymentStatus status={running.status} />
            </ButtonLink>
          )}
          {agent.data && (
            <Action
              variant="default"
              why={why}
              onAct={() => void navigate({ search: { ...search, rollback: "open" } })}
            >
              Roll back
            </Action>
          )}
          {agent.data?.update_available && (
            <Action
              why={why}
              onAct={() => void navigate({ to: "/agents/$agentId/upgrade", params: { agentId }, search: {} })}
            >
              Upgrade
            </Action>
          )}
          {agent.data && <More agent={agent.data} />}
        </Group>
      </Group>
      <LockBanner agent={agentId} meanwhile="Others begin nothing meanwhile; rollbacks pass." />
      <Asked question={agent} lines={6}>
        {agent.data && (
          <Tabs
            value={tab}
            onChange={(value) => void navigate({ search: { tab: (value ?? "overview") as Tab } })}
            keepMounted={false}
          >
            <Tabs.List mb="md">
              {Object.entries(TABS).map(([value, words]) => (
                <Tabs.Tab key={value} value={value}>
                  {words}
                </Tabs.Tab>
              ))}
            </Tabs.List>
            <Tabs.Panel value="overview">
              <Overview agent={agent.data} />
            </Tabs.Panel>
            <Tabs.Panel value="versions">
              <Versions agent={agentId} onRollback={() => void navigate({ search: { ...search, rollback: "open" } })} />
            </Tabs.Panel>
            <Tabs.Panel value="instances">
              <Instances
                agent={agentId}
                chosen={search.instance}
                onChoose={(instance) => void navigate({ search: { ...search, instance } })}
              />
            </Tabs.Panel>
            <Tabs.Panel value="deployments">
              <Deployments agent={agentId} />
            </Tabs.Panel>
            <Tabs.Panel value="staging">
              <StagingRuns agent={agentId} />
            </Tabs.Panel>
            <Tabs.Panel value="config">
              <Configuration agent={agentId} />
            </Tabs.Panel>
            <Tabs.Panel value="state">
              <State agent={agentId} />
            </Tabs.Panel>
            <Tabs.Panel value="audit">
              <History agent={agentId} />
            </Tabs.Panel>
          </Tabs>
        )}
      </Asked>
      {search.rollback && (
        <RollbackDialog agent={agentId} onClose={() => void navigate({ search: { ...search, rollback: undefined } })} />
      )}
    </Stack>
  );
}

function History({ agent }: { agent: string }) {
  const entries = api.useQuery("get", "/api/platform/agents/{agent_id}/audit", {
    params: { path: { agent_id: agent }, query: { limit: 50 } },
  });
  return (
    <Panel
      title="Entries"
      flush
      aside={
        <ButtonLink to="/audit" search={{ agent }} variant="default" size="compact-md">
          Filter and export
        </ButtonLink>
      }
    >
      <Asked question={entries}>
        <AuditList events={entries.data?.events ?? []} />
      </Asked>
    </Panel>
  );
}
