/** Third step: a staging run of this version, started here and watched here. Issues stop nobody who may override them and says why. */
import { Checkbox, Group, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api, http } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { AnchorLink } from "../../components/links";
import { Asked, Failed, Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { useRun } from "../staging/report";
import { RunView } from "../staging/run-view";
import type { StepProps } from "./wizard";

const route = getRouteApi("/agents/$agentId/upgrade");

export function Staging({ agent, version, draft, change }: StepProps) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay("operator", agent);
  const admin = useMay("admin", agent);
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const gate = api.useQuery("get", "/api/platform/agents/{agent_id}/staging/gate", {
    params: { path: { agent_id: agent } },
  });
  const runs = api.useQuery("get", "/api/platform/agents/{agent_id}/staging", {
    params: { path: { agent_id: agent }, query: { limit: 50 } },
  });
  const last = runs.data?.runs.find((each) => each.version === version.version);
  const shown = search.run ?? last?.run_id ?? null;
  const run = useRun(agent, shown);
  const going = run.data?.status === "queued" || run.data?.status === "running";

  const begin = async () => {
    setBusy(true);
    const { data, error } = await http.POST("/api/platform/agents/{agent_id}/staging", {
      params: { path: { agent_id: agent } },
      body: { version: version.version, reason: "before its upgrade" } as never,
    });
    setBusy(false);
    setProblem(error ?? null);
    if (data) await navigate({ search: { ...search, run: data.run_id }, replace: true });
  };
  return (
    <>
      <Panel
        title="In staging"
        aside={
          <Action
            size="compact-md"
            loading={busy}
            why={may || (going ? "A run is under way." : "")}
            onAct={() => void begin()}
          >
            {shown ? "Test again" : "Test it now"}
          </Action>
        }
      >
        <Stack gap="sm">
          <Text>
            Instances of {version.version} are started apart, on a copy of the state; no live traffic reaches them.
            Smoke, integration and load tests run, and both versions are compared.
          </Text>
          {gate.data && (
            <Text>
              {gate.data.required
                ? `${agent} needs a passed run of the last ${gate.data.fresh_hours} h before an upgrade.`
                : `${agent} may be upgraded without one.`}
            </Text>
          )}
          {shown ? (
            <Group gap="xs">
              <AnchorLink to="/agents/$agentId/staging/$runId" params={{ agentId: agent, runId: shown }}>
                The whole report
              </AnchorLink>
              {run.data && (
                <Text size="sm" c="dimmed">
                  asked for <Time at={run.data.requested_at} />
                </Text>
              )}
            </Group>
          ) : (
            runs.data && <Text c="dimmed">This version was not tested yet.</Text>
          )}
          {problem !== null && <Failed error={problem} />}
          {gate.data?.required && (
            <Checkbox
              checked={draft.override}
              disabled={Boolean(admin)}
              description={admin || "The reason that you give in the next step says why."}
              label="Upgrade without a passed run"
              onChange={(event) => change({ override: event.currentTarget.checked })}
            />
          )}
        </Stack>
      </Panel>
      {shown && (
        <Asked question={run} lines={6}>
          {run.data && <RunView run={run.data} />}
        </Asked>
      )}
    </>
  );
}
