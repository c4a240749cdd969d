/** One deployment while it happens, and for ever after: traffic, both sides compared, every stage, what the judge says, and what can be done. */
import { Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import { api, http, isRefusal, type Schemas } from "../../api/client";
import type { LiveEvent } from "../../api/live";
import { useEvents } from "../../app/live";
import { usePolling } from "../../app/polling";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { AnchorLink } from "../../components/links";
import { Asked, Panel } from "../../components/panel";
import { Refused } from "../../components/refused";
import { DeploymentStatus, Status } from "../../components/status";
import { Time } from "../../components/time";
import { Traffic } from "../../components/traffic";
import { isOver, isWaiting } from "../../lib/deployments";
import { absolute, count, duration, percent, stageName, took } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { Busy, place, useQueue } from "../agent/busy";
import { LockBanner, useLockedOut } from "../agent/lock";
import { Instances } from "../agent/overview";
import { RollbackDialog } from "../rollback/rollback-dialog";
import { Compared } from "./compared";
import { Ended } from "./ended";
import { Figures, type Side } from "./figures";
import { Kept } from "./kept";
import { ReportIssue } from "./report-issue";
import { Verbs } from "./verbs";

type Deployment = Schemas["DeploymentView"];

const route = getRouteApi("/agents/$agentId/deployments/$upgradeId");

export function Monitor() {
  const { agentId, upgradeId } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const polling = usePolling(5000);
  const params = { path: { agent_id: agentId, upgrade_id: upgradeId } };
  const deployment = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/upgrades/{upgrade_id}",
    { params },
    { refetchInterval: (query) => (isOver(query.state.data?.status ?? "") ? false : polling) },
  );
  const found = deployment.data;
  const green = found?.metrics.green?.traffic_percent;
  useTitle(
    found && `${agentId} ${found.from_version ?? ""} → ${found.to_version}`,
    found && (green != null && !isOver(found.status) ? percent(green) : found.status.replaceAll("_", " ")),
  );
  const onRollback = (open: boolean) => void navigate({ search: { rollback: open ? "open" : undefined } });
  if (!deployment.data && isRefusal(deployment.error)) return <Refused error={deployment.error} />;
  return (
    <Asked question={deployment} lines={8}>
      {found && <Whole deployment={found} onRollback={() => onRollback(true)} />}
      {search.rollback && <RollbackDialog agent={agentId} onClose={() => onRollback(false)} />}
    </Asked>
  );
}

function Whole({ deployment, onRollback }: { deployment: Deployment; onRollback: () => void }) {
  const over = isOver(deployment.status);
  const may = useMay("operator", deployment.agent_id);
  const [reporting, setReporting] = useState(false);
  return (
    <Stack gap="lg">
      {reporting && <ReportIssue deployment={deployment} onClose={() => setReporting(false)} />}
      <div className="sticky">
        <Group justify="space-between">
          <div>
            <Text size="sm" c="dimmed">
              <AnchorLink to="/agents/$agentId" params={{ agentId: deployment.agent_id }}>
                {deployment.agent_id}
              </AnchorLink>
              , {deployment.kind === "upgrade" ? deployment.strategy : deployment.kind}
            </Text>
            <Group gap="md">
              <Title order={1}>
                {deployment.agent_id} {deployment.from_version ?? ""} → {deployment.to_version}
              </Title>
              <DeploymentStatus status={deployment.status} />
            </Group>
          </div>
          {over ? <Ended deployment={deployment} onRollback={onRollback} /> : <Verbs deployment={deployment} />}
        </Group>
      </div>
      <Group justify="space-between" gap="xs">
        <Facts deployment={deployment} over={over} />
        <Action size="compact-md" variant="default" why={may} onAct={() => setReporting(true)}>
          Report issue
        </Action>
      </Group>
      {!over && <Held deployment={deployment} />}
      {deployment.rollback && <Verdict deployment={deployment} />}
      {!over && deployment.judgement && <Judgement deployment={deployment} judgement={deployment.judgement} />}
      <Panel title="Traffic">
        <Traffic blue={deployment.metrics.blue} green={deployment.metrics.green} />
      </Panel>
      {over ? <Kept deployment={deployment} /> : <LiveFigures deployment={deployment} />}
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Panel title="Stages">
          <ol className="steps">
            {deployment.stages.map((stage) => (
              <Stage key={stage.stage} stage={stage} />
            ))}
          </ol>
        </Panel>
        <Stack gap="lg">
          <Impact deployment={deployment} />
          <Events deployment={deployment} />
        </Stack>
      </SimpleGrid>
      {!over && <Running agent={deployment.agent_id} />}
    </Stack>
  );
}

function Facts({ deployment, over }: { deployment: Deployment; over: boolean }) {
  return (
    <Text c="dimmed" component="div" className="cut">
      {deployment.operator}: {deployment.reason}.{" "}
      {deployment.started_at ? (
        <>
          Begun <Time at={deployment.started_at} />, {over ? "took" : "running for"}{" "}
          {duration(deployment.duration_seconds)}
          {over ? "" : `, about ${Math.max(1, Math.round(deployment.estimated_duration_minutes))} min in all`}.
        </>
      ) : deployment.scheduled_at ? (
        <>Begins {absolute(deployment.scheduled_at)}.</>
      ) : null}{" "}
      {deployment.message === deployment.rollback?.reason ? "" : deployment.message}
    </Text>
  );
}

/** What keeps it from beginning, or from being steered: somebody's lock, and what is under way before it. */
function Held({ deployment }: { deployment: Deployment }) {
  const { agent_id: agent, status } = deployment;
  const queue = useQueue(agent);
  const before = queue?.holder?.upgrade_id === deployment.upgrade_id ? null : queue?.holder;
  return (
    <>
      <LockBanner
        agent={agent}
        meanwhile={
          isWaiting(status)
            ? "This begins no earlier, unless it is the holder's own."
            : "Until then only the holder resumes and advances this; everybody may pause, cancel and roll back."
        }
      />
      {before && status === "queued" && (
        <Busy holder={before}>This waits its turn and is {place(deployment.queue_position ?? 1)}.</Busy>
      )}
    </>
  );
}

/** Why it was taken back stays readable for ever: which rule, which value, which limit, when. */
function Verdict({ deployment }: { deployment: Deployment }) {
  const cause = deployment.rollback;
  if (!cause) return null;
  return (
    <Panel title="Taken back">
      <Stack gap={4} role="alert">
        <Status tone="bad">{cause.reason}</Status>
        <Text size="sm" c="dimmed" component="div">
          {cause.auto_triggered ? "By the engine" : `By ${cause.operator}`}
          {cause.stage ? `, while: ${stageName(cause.stage)}` : ""}
          {cause.requests != null
            ? `, seen in ${count(cause.requests)} requests within ${duration(cause.window_seconds)}`
            : ""}
          , <Time at={cause.triggered_at} />
        </Text>
      </Stack>
    </Panel>
  );
}

const VERDICTS: Record<string, [Tone, string]> = {
  passing: ["good", "Passing"],
  failing: ["bad", "Failing"],
  inconclusive: ["busy", "Not yet clear"],
  no_data: ["quiet", "No requests yet"],
};

function Judgement({
  deployment,
  judgement,
}: {
  deployment: Deployment;
  judgement: NonNullable<Deployment["judgement"]>;
}) {
  const { agent_id: agent, upgrade_id: upgrade, overridden_by: overriddenBy } = deployment;
  const [tone, word] = VERDICTS[judgement.verdict] ?? ["quiet", judgement.verdict];
  const [asking, setAsking] = useState(false);
  const may = useMay("operator", agent);
  const lockedOut = useLockedOut(agent);
  const why =
    may ||
    lockedOut ||
    (overriddenBy ? `${overriddenBy} did so already.` : "") ||
    (deployment.status === "rolling_back" ? "It is being taken back." : "");
  return (
    <Panel
      title="The judge"
      aside={
        <Action size="compact-md" variant="default" why={why} onAct={() => setAsking(true)}>
          Override it
        </Action>
      }
    >
      {asking && (
        <Confirm
          typed={agent}
          title={`Override the judge: ${agent} ${deployment.to_version}`}
          words="It still says what it finds, but decides nothing any more in this deployment: nothing is taken back for errors or latency, and nothing is held for lack of evidence. Health checks and deadlines stay in force."
          act="Override it"
          reasons={["Known and harmless", "Limits are wrong", "Too little traffic to judge"]}
          command={(reason) => `servicing override ${upgrade} --reason ${reason}`}
          onAct={(reason) =>
            http.POST("/api/platform/agents/{agent_id}/upgrades/{upgrade_id}/override", {
              params: { path: { agent_id: agent, upgrade_id: upgrade } },
              body: { reason } as never,
            })
          }
          onClose={() => setAsking(false)}
        />
      )}
      <Stack gap={4}>
        {overriddenBy && <Text className="tone-warn">{overriddenBy} has overridden it: it only tells.</Text>}
        <Status tone={tone}>{word}</Status>
        <Text className="cut">{judgement.sentence}</Text>
        {judgement.missing_requests != null && judgement.missing_requests > 0 && (
          <Text size="sm" c="dimmed">
            About {count(judgement.missing_requests)} more requests are needed.
          </Text>
        )}
      </Stack>
    </Panel>
  );
}

function LiveFigures({ deployment }: { deployment: Deployment }) {
  const [figures] = useState(() => new Figures());
  const [newest, setNewest] = useState<{ blue: Side; green: Side } | null>(null);
  const take = useCallback(
    (event: LiveEvent) => {
      if (event.event !== "metrics_update" || event.upgrade_id !== deployment.upgrade_id) return;
      const sides = event.metrics as { blue: Side; green: Side };
      figures.add(Math.floor(Date.parse(event.at ?? "") / 1000), sides.blue, sides.green);
      setNewest(sides);
    },
    [deployment.upgrade_id, figures],
  );
  useEvents(take);
  const { blue, green } = deployment.metrics;
  return (
    <Compared
      blue={{ ...blue, ...newest?.blue }}
      green={{ ...green, ...newest?.green }}
      figures={figures}
      policy={deployment.auto_rollback}
      live
    />
  );
}

const STAGES: Record<string, [Tone, string]> = {
  pending: ["quiet", "pending"],
  in_progress: ["busy", "in progress"],
  completed: ["good", ""],
  failed: ["bad", "failed"],
  skipped: ["quiet", "skipped"],
};

function Stage({ stage }: { stage: Deployment["stages"][number] }) {
  const [tone, word] = STAGES[stage.status] ?? ["quiet", stage.status];
  const now = stage.status === "in_progress";
  return (
    <li className={now ? "step step-now" : "step"} aria-current={now ? "step" : undefined}>
      <Status tone={tone}>{""}</Status>
      <span>
        {stageName(stage.stage)}
        {stage.note && (
          <Text size="sm" c="dimmed" fw={400} className="cut">
            {stage.note}
          </Text>
        )}
      </span>
      <Text size="sm" c="dimmed">
        {word || took(stage.duration_seconds)}
      </Text>
    </li>
  );
}

function Impact({ deployment }: { deployment: Deployment }) {
  const { impact } = deployment;
  const lines: [string, string][] = [
    ["Requests", count(impact.requests)],
    ["Answered by the new version", count(impact.candidate_requests)],
    ["Errors, now / new", `${count(impact.stable_errors)} / ${count(impact.candidate_errors)}`],
    ["Conversations it touched", impact.conversations_touched == null ? "–" : count(impact.conversations_touched)],
    ["Not served at all", count(impact.unserved)],
    ["Downtime", duration(impact.downtime_seconds)],
  ];
  return (
    <Panel title="What users noticed">
      {lines.map(([name, value]) => (
        <Group key={name} justify="space-between">
          <Text c="dimmed">{name}</Text>
          <Text fw={600}>{value}</Text>
        </Group>
      ))}
    </Panel>
  );
}

const FEED = 30;
const UNTOLD = new Set(["metrics_update", "snapshot", "heartbeat", "pong"]);

function Events({ deployment }: { deployment: Deployment }) {
  const [events, setEvents] = useState<LiveEvent[]>([]);
  const take = useCallback(
    (event: LiveEvent) => {
      const told = event.back || (!UNTOLD.has(event.event) && event.agent_id === deployment.agent_id);
      if (!told) return;
      setEvents((before) => [event, ...before].slice(0, FEED));
    },
    [deployment.agent_id],
  );
  useEvents(take);
  const newest = events[0];
  return (
    <Panel title="Events since you look">
      <div role="status" aria-live="polite">
        {newest ? <Told event={newest} /> : <Text c="dimmed">What happens from now on stands here.</Text>}
      </div>
      {events.slice(1).map((event) => (
        <Told key={`${event.seq} ${event.event}`} event={event} />
      ))}
    </Panel>
  );
}

function Told({ event }: { event: LiveEvent }) {
  const what = event.back
    ? "the connection is back; what happened meanwhile follows"
    : event.event.replaceAll("_", " ");
  const details = [event.stage ? stageName(String(event.stage)) : "", event.instance, event.reason]
    .filter(Boolean)
    .join(", ");
  return (
    <Text size="sm" component="div" className="cut" data-seq={event.back ? undefined : event.seq}>
      <Time at={event.at} />: {what}
      {details ? ` (${details})` : ""}
    </Text>
  );
}

function Running({ agent }: { agent: string }) {
  const refetchInterval = usePolling(3000);
  const instances = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/instances",
    { params: { path: { agent_id: agent } } },
    { refetchInterval },
  );
  return (
    <Panel title="Instances" flush>
      <Asked question={instances}>{instances.data && <Instances instances={instances.data.instances} />}</Asked>
    </Panel>
  );
}
