/** The report of one staging run, live while it runs: cancel it, run a case again, go on to the upgrade. */
import { Button, Group, Stack, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { api, http, isRefusal, problemOf } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { Dialog } from "../../components/dialog";
import { AnchorLink, ButtonLink } from "../../components/links";
import { Asked, Failed } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Refused } from "../../components/refused";
import { Time } from "../../components/time";
import { duration } from "../../lib/format";
import { type Run, RunStatus, RunView } from "./run-view";

const route = getRouteApi("/agents/$agentId/staging/$runId");
/** A run tells little by events: what it found so far is asked for this often. */
const WHILE_RUNNING_MS = 2000;

export function useRun(agentId: string, runId: string | null) {
  const polling = usePolling();
  return api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/staging/{run_id}",
    { params: { path: { agent_id: agentId, run_id: runId ?? "" } } },
    {
      enabled: Boolean(runId),
      refetchInterval: (query) =>
        ["queued", "running"].includes(query.state.data?.status ?? "running") ? WHILE_RUNNING_MS : polling,
    },
  );
}

export function Report() {
  const { agentId, runId } = route.useParams();
  const run = useRun(agentId, runId);
  useTitle(`Staging of ${agentId}`, run.data?.version);
  if (!run.data && isRefusal(run.error)) return <Refused error={run.error} />;
  return (
    <Asked question={run} lines={8}>
      {run.data && <Whole run={run.data} />}
    </Asked>
  );
}

function Whole({ run }: { run: Run }) {
  const may = useMay("operator", run.agent_id);
  const [ending, setEnding] = useState(false);
  const going = run.status === "queued" || run.status === "running";
  const again = async (id: string) => {
    const { error } = await http.POST("/api/platform/agents/{agent_id}/staging/{run_id}/cases/{case}", {
      params: { path: { agent_id: run.agent_id, run_id: run.run_id, case: id } },
      body: { reason: "again from the report" },
    });
    const { title, hint } = problemOf(error);
    notifications.show(error ? { color: "danger", message: `${title} ${hint}` } : { message: "It runs again." });
  };
  return (
    <Stack gap="lg">
      <Group justify="space-between">
        <div>
          <Text size="sm" c="dimmed">
            <AnchorLink to="/agents/$agentId" params={{ agentId: run.agent_id }} search={{ tab: "staging" }}>
              {run.agent_id}
            </AnchorLink>
            , staging
          </Text>
          <Group gap="md">
            <Title order={1}>
              {run.agent_id} {run.version}, tested in staging
            </Title>
            <RunStatus run={run} />
          </Group>
          <Text c="dimmed" component="div" className="cut">
            {run.operator}
            {run.reason ? `: ${run.reason}` : ""}, <Time at={run.requested_at} />
            {run.duration_seconds == null ? "" : `, took ${duration(run.duration_seconds)}`}
            {run.stable_version ? `; compared with ${run.stable_version}` : ""}
          </Text>
        </div>
        <Group gap="sm">
          <Action variant="default" why={may || (going ? "" : "It is over.")} onAct={() => setEnding(true)}>
            Cancel this run
          </Action>
          {!going && (
            <ButtonLink
              to="/agents/$agentId/upgrade"
              params={{ agentId: run.agent_id }}
              search={{ version: run.version, step: "test", run: run.run_id }}
            >
              Upgrade to {run.version}
            </ButtonLink>
          )}
        </Group>
      </Group>
      <RunView run={run} onCase={!going && !may ? (id) => void again(id) : undefined} />
      {run.hand.length > 0 && <ByHand run={run} />}
      {ending && <End run={run} onClose={() => setEnding(false)} />}
    </Stack>
  );
}

function ByHand({ run }: { run: Run }) {
  return (
    <section className="panel" aria-label="Run again by hand">
      <div className="panel-head">
        <Title order={2}>Run again by hand</Title>
      </div>
      <ul className="steps panel-body">
        {run.hand.map((each) => (
          <li key={`${each.case} ${each.at}`} className="case">
            <Text className="cut">
              {each.case}: {each.status}, {each.operator}, <Time at={each.at} />
            </Text>
            {each.message && (
              <Text size="sm" c="dimmed" className="cut">
                {each.message}
              </Text>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function End({ run, onClose }: { run: Run; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const end = async () => {
    const { error } = await http.DELETE("/api/platform/agents/{agent_id}/staging/{run_id}", {
      params: { path: { agent_id: run.agent_id, run_id: run.run_id }, query: { reason } },
    });
    if (error) setProblem(error);
    else onClose();
  };
  return (
    <Dialog title="Cancel this staging run" onClose={onClose}>
      <Stack gap="md">
        <Text>Everything that it started is ended. What it found so far stays readable.</Text>
        <Reason value={reason} onChange={setReason} reasons={["Wrong version", "Takes too long", "No longer needed"]} />
        {problem !== null && <Failed error={problem} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Keep it running
          </Button>
          <Button color="danger" disabled={!reason.trim()} onClick={() => void end()}>
            Cancel the run
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
