/** The next two weeks: what is planned, and the freezes and windows that it meets. Admins add and end those; whoever may, stops the line. */
import { Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { AnchorLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { absolute, duration } from "../../lib/format";
import { AddRule } from "./add-rule";

type Rule = Schemas["agent_servicing__web__schemas__schedule__RuleView"];
const DAYS = 14;

export function Calendar() {
  const refetchInterval = usePolling();
  const upcoming = api.useQuery(
    "get",
    "/api/platform/schedule/upcoming",
    { params: { query: { days: DAYS } } },
    { refetchInterval },
  );
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      <Panel title={`The next ${DAYS} days`}>
        <Asked question={upcoming}>
          {upcoming.data?.deployments.length || upcoming.data?.spans.length ? (
            <Agenda upcoming={upcoming.data} />
          ) : (
            <Empty title="Nothing is planned">The fourth step of an upgrade gives it a time.</Empty>
          )}
        </Asked>
      </Panel>
      <Rules />
    </SimpleGrid>
  );
}

function Agenda({ upcoming }: { upcoming: Schemas["UpcomingView"] }) {
  const lines = [
    ...upcoming.deployments.map((each) => ({
      at: each.expected_start ?? each.scheduled_at ?? upcoming.starts_at,
      key: each.upgrade_id,
      line: (
        <>
          <AnchorLink
            to="/agents/$agentId/deployments/$upgradeId"
            params={{ agentId: each.agent_id, upgradeId: each.upgrade_id }}
          >
            {each.agent_id} to {each.to_version}
          </AnchorLink>{" "}
          <Text size="sm" c="dimmed">
            {each.operator}
            {each.expected_end ? `, until about ${absolute(each.expected_end)}` : ""}
          </Text>
          {each.conflicts.map((conflict) => (
            <Text key={conflict} size="sm" className="tone-warn cut">
              {conflict}
            </Text>
          ))}
        </>
      ),
    })),
    ...upcoming.spans.map((span) => ({
      at: span.starts_at,
      key: `${span.rule_id} ${span.starts_at}`,
      line: (
        <Text className="cut">
          {span.kind === "freeze" ? "Freeze" : "Window"} “{span.name}” until {absolute(span.ends_at)},{" "}
          {span.agents.length ? span.agents.join(", ") : "all agents"}
        </Text>
      ),
    })),
  ].sort((one, other) => one.at.localeCompare(other.at));
  return (
    <ul className="steps" aria-label="What is planned">
      {lines.slice(0, 200).map(({ at, key, line }) => (
        <li key={key} className="case">
          <Text size="sm" fw={600} component="div">
            {absolute(at)}, <Time at={at} />
          </Text>
          {line}
        </li>
      ))}
    </ul>
  );
}

export function Rules() {
  const schedule = api.useQuery("get", "/api/platform/schedule", {});
  const admin = useMay("admin");
  const operator = useMay("operator");
  const [asking, setAsking] = useState<"freeze" | "stop" | "resume" | Rule | null>(null);
  const close = () => {
    setAsking(null);
    void schedule.refetch();
  };
  const stopped = schedule.data?.stopped;
  return (
    <Panel
      title="Freezes and windows"
      aside={
        <Group gap="xs">
          <Action size="compact-md" variant="default" why={admin} onAct={() => setAsking("freeze")}>
            Add a freeze
          </Action>
          <Action
            size="compact-md"
            variant="default"
            why={operator}
            onAct={() => setAsking(stopped ? "resume" : "stop")}
          >
            {stopped ? "Let deployments begin" : "Stop the line"}
          </Action>
        </Group>
      }
    >
      <Asked question={schedule}>
        <Stack gap="sm">
          {stopped && (
            <div role="status">
              <Status tone="bad">The line is stopped</Status>
              <Text size="sm" className="cut">
                {stopped.operator}: {stopped.reason}, <Time at={stopped.since} />. Nothing new begins.
              </Text>
            </div>
          )}
          {schedule.data && (
            <Text size="sm" c="dimmed">
              {schedule.data.limit.under_way} of at most {schedule.data.limit.max_concurrent_deployments} deployments at
              once, {schedule.data.limit.waiting} wait.
            </Text>
          )}
          {schedule.data?.rules.length ? (
            <ul className="steps" aria-label="Freezes and windows">
              {schedule.data.rules.map((rule) => (
                <li key={rule.rule_id} className="case">
                  <Group justify="space-between" gap="xs">
                    <Text fw={600} className="cut">
                      {rule.kind === "freeze" ? "Freeze" : "Window"}: {rule.name}
                    </Text>
                    <Group gap="sm">
                      <Status tone={rule.active ? "warn" : "quiet"}>
                        {rule.active ? "in force" : rule.over ? "over" : "to come"}
                      </Status>
                      <Action size="compact-sm" variant="default" why={admin} onAct={() => setAsking(rule)}>
                        Remove
                      </Action>
                    </Group>
                  </Group>
                  <Text size="sm" c="dimmed" className="cut">
                    {rule.agents.length ? rule.agents.join(", ") : "All agents"}
                    {rule.cron ? `, ${rule.cron} (${rule.time_zone}) for ${duration(rule.duration_seconds)}` : ""}
                    {rule.next_start && !rule.active ? `, next ${absolute(rule.next_start)}` : ""}
                    {rule.starts_at ? `, from ${absolute(rule.starts_at)}` : ""}
                    {rule.ends_at ? ` until ${absolute(rule.ends_at)}` : ""}. {rule.operator}: {rule.reason}
                  </Text>
                </li>
              ))}
            </ul>
          ) : (
            <Text c="dimmed">There is none: deployments may begin at any time.</Text>
          )}
        </Stack>
      </Asked>
      {asking === "freeze" && <AddRule onClose={close} />}
      {asking !== null && asking !== "freeze" && <Sure what={asking} onClose={close} />}
    </Panel>
  );
}

function Sure({ what, onClose }: { what: "stop" | "resume" | Rule; onClose: () => void }) {
  const [title, words, act] =
    what === "stop"
      ? ["Stop the line", "Nothing new begins until somebody lets it. What runs goes on.", "Stop it"]
      : what === "resume"
        ? ["Let deployments begin", "What waits begins, one after the other.", "Let them begin"]
        : [`Remove “${what.name}”`, "Deployments that it holds back may begin.", "Remove it"];
  const send = (reason: string) =>
    what === "stop"
      ? http.POST("/api/platform/schedule/stop", { body: { reason } as never })
      : what === "resume"
        ? http.POST("/api/platform/schedule/resume", { body: { reason } as never })
        : http.DELETE("/api/platform/schedule/rules/{rule_id}", {
            params: { path: { rule_id: what.rule_id }, query: { reason } },
          });
  return (
    <Confirm
      title={title}
      words={words}
      act={act}
      danger={what === "stop"}
      reasons={["Incident", "Incident is over", "No longer needed"]}
      onAct={send}
      onClose={onClose}
    />
  );
}
