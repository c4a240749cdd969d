/** An upgrade in five steps. Where one is stands in the address, what was answered in the tab's store: reload, Back and a new sign-in keep it. */
import { Button, CopyButton, Group, Stack, Text, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { api, isRefusal, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Command } from "../../components/command";
import { AnchorLink, ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Refused } from "../../components/refused";
import { Status } from "../../components/status";
import { absolute } from "../../lib/format";
import { keep, kept } from "../../lib/store";
import { Busy, place, useQueue } from "../agent/busy";
import { LockBanner } from "../agent/lock";
import { backWhen, bodyOf, commandOf, type Draft, FRESH, missing, STEPS, type Step } from "./draft";
import { Review } from "./review";
import { Schedule } from "./schedule";
import { Start } from "./start";
import { Strategy } from "./strategy";
import { Staging } from "./test-step";

const route = getRouteApi("/agents/$agentId/upgrade");

const NAMES: Record<Step, string> = {
  review: "Review changes",
  strategy: "Strategy",
  test: "Test in staging",
  schedule: "Schedule and safety",
  start: "Review and start",
};

export interface StepProps {
  agent: string;
  version: Schemas["VersionView"];
  current: string | null;
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  plan: Plan;
}

export type Plan = ReturnType<typeof usePlan>;

function usePlan(agent: string, version: string, draft: Draft, current: string | null) {
  const [asked] = useDebouncedValue({ ...bodyOf(draft, version, current), dry_run: true, reason: "plan" }, 300);
  return api.useQuery(
    "post",
    "/api/platform/agents/{agent_id}/upgrade",
    { params: { path: { agent_id: agent } }, body: asked as Schemas["UpgradeBody"] },
    {
      retry: 0,
      enabled: Boolean(version),
      select: (data) => data as unknown as Schemas["PlanView"],
      placeholderData: (before) => before,
    },
  );
}

export function Wizard() {
  const { agentId } = route.useParams();
  const { version: wanted } = route.useSearch();
  useTitle(`Upgrade ${agentId}`, wanted);
  const versions = api.useQuery("get", "/api/platform/agents/{agent_id}/versions", {
    params: { path: { agent_id: agentId } },
  });
  const upgradable = versions.data?.versions.filter((each) => each.upgradable) ?? [];
  const name = wanted ?? versions.data?.recommended?.version ?? upgradable[0]?.version;
  const version = versions.data?.versions.find((each) => each.version === name);
  if (!versions.data && isRefusal(versions.error)) return <Refused error={versions.error} />;
  return (
    <Stack gap="lg">
      <div>
        <Text size="sm" c="dimmed">
          <AnchorLink to="/agents/$agentId" params={{ agentId }}>
            {agentId}
          </AnchorLink>
          , upgrade
        </Text>
        <Title order={1}>
          Upgrade {agentId}
          {version ? ` to ${version.version}` : ""}
        </Title>
      </div>
      <Asked question={versions} lines={8}>
        {version && versions.data ? (
          <Steps key={version.version} agent={agentId} version={version} list={versions.data} />
        ) : (
          <Panel title="No such version">
            <Empty title={wanted ? `${agentId} has no version ${wanted}` : "There is nothing to upgrade to"}>
              <AnchorLink to="/agents/$agentId" params={{ agentId }} search={{ tab: "versions" }}>
                See its versions
              </AnchorLink>
            </Empty>
          </Panel>
        )}
      </Asked>
    </Stack>
  );
}

function useDraft(agent: string, version: string) {
  const key = `upgrade ${agent} ${version}`;
  const [draft, setDraft] = useState<Draft>(() => ({ ...FRESH, ...kept<Draft>(key) }));
  useEffect(() => keep(key, draft), [key, draft]);
  return {
    draft,
    change: (part: Partial<Draft>) => setDraft((before) => ({ ...before, ...part })),
    forget: () => keep(key, null),
  };
}

function Steps({
  agent,
  version,
  list,
}: {
  agent: string;
  version: Schemas["VersionView"];
  list: Schemas["VersionList"];
}) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const step = search.step ?? "review";
  const { draft, change, forget } = useDraft(agent, version.version);
  const current = list.current_version;
  const plan = usePlan(agent, version.version, draft, current);
  const may = useMay("operator", agent);
  const breaking = version.breaking_changes.length > 0 || version.type === "major";
  const at = STEPS.indexOf(step);
  const why = missing(step, draft, breaking);
  const unanswered = STEPS.filter((each) => missing(each, draft, breaking));
  const head = useRef<HTMLHeadingElement>(null);
  const [moved, setMoved] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new step takes the focus, so that it is read out
  useEffect(() => {
    if (moved) head.current?.focus();
  }, [step]);
  const go = (next: Step) => {
    setMoved(true);
    void navigate({ search: { ...search, version: version.version, step: next } });
  };
  const props: StepProps = { agent, version, current, draft, change, plan };
  return (
    <>
      <nav aria-label="Steps">
        <ol className="wizard-steps">
          {STEPS.map((each, index) => (
            <li key={each}>
              <Link
                to="/agents/$agentId/upgrade"
                params={{ agentId: agent }}
                search={{ ...search, version: version.version, step: each }}
                // Without a step in the address no link is the active one; where there is one the router says "page".
                aria-current={each === step ? "step" : undefined}
              >
                <span>{index + 1}</span> <span className="wizard-name">{NAMES[each]}</span>
                {index < at && <Mark answered={!unanswered.includes(each)} left={each === "test" && !search.run} />}
              </Link>
            </li>
          ))}
        </ol>
      </nav>
      {may && <Text className="tone-warn">{may} You can look at the plan.</Text>}
      <InTheWay agent={agent} />
      <div className="wizard">
        <Stack gap="md">
          <Title order={2} ref={head} tabIndex={-1}>
            {at + 1}. {NAMES[step]}
          </Title>
          {step === "review" && <Review {...props} list={list} />}
          {step === "strategy" && <Strategy {...props} />}
          {step === "test" && <Staging {...props} />}
          {step === "schedule" && <Schedule {...props} />}
          {step === "start" && (
            <Start {...props} unanswered={unanswered.map((each) => NAMES[each])} may={may} forget={forget} />
          )}
          {step !== "start" && (
            <Group justify="space-between">
              <Button variant="default" disabled={at === 0} onClick={() => go(STEPS[at - 1] ?? "review")}>
                Back
              </Button>
              <Group gap="sm">
                {why && (
                  <Text size="sm" className="tone-warn" id="why-not" role="status">
                    {why}
                  </Text>
                )}
                <Button
                  aria-describedby={why ? "why-not" : undefined}
                  aria-disabled={Boolean(why)}
                  data-disabled={why ? true : undefined}
                  onClick={() => !why && go(STEPS[at + 1] ?? "start")}
                >
                  Next
                </Button>
              </Group>
            </Group>
          )}
        </Stack>
        <Summary {...props} />
      </div>
    </>
  );
}

/** Who has the agent now, and what that means for what is asked for here. */
function InTheWay({ agent }: { agent: string }) {
  const queue = useQueue(agent);
  return (
    <>
      <LockBanner
        agent={agent}
        meanwhile="Until then only the holder begins an upgrade; what you answer here is kept."
      />
      {queue?.holder && (
        <Busy holder={queue.holder}>
          Yours waits its turn and is {place(queue.queue.length + 1)}; step {STEPS.indexOf("schedule") + 1} has other
          ways.
        </Busy>
      )}
    </>
  );
}

/** What stands at a step that was passed. Leaving the staging run out is no mistake, but not done either. */
function Mark({ answered, left }: { answered: boolean; left: boolean }) {
  if (!answered) return <Status tone="warn">to do</Status>;
  return left ? <Status tone="quiet">no new run</Status> : <Status tone="good">done</Status>;
}

function Summary({ agent, version, current, draft, plan }: StepProps) {
  const command = commandOf(draft, agent, version.version);
  return (
    <Panel title="So far">
      <Stack gap="sm">
        <Text>
          <span className="mono">{current ?? "nothing"}</span> → <span className="mono">{version.version}</span>,{" "}
          {draft.strategy}
        </Text>
        <Text size="sm">{draft.at ? `Begins ${absolute(new Date(draft.at).toISOString())}` : "Begins at once"}</Text>
        <Text size="sm">
          {draft.rollback
            ? `Goes back by itself ${plan.data ? backWhen(plan.data.auto_rollback) : "when it is proved worse"}`
            : "Does not go back by itself"}
        </Text>
        {plan.data && (
          <Text size="sm">About {Math.max(1, Math.round(plan.data.estimated_duration_minutes))} min in all</Text>
        )}
        {(plan.data?.refusals.length ?? 0) > 0 && <Status tone="bad">Refused as it is</Status>}
        <Text size="sm" c="dimmed">
          As a command
        </Text>
        <Command>{command}</Command>
        <Group gap="xs">
          <CopyButton value={command}>
            {({ copied, copy }) => (
              <Button size="compact-md" variant="default" onClick={copy}>
                {copied ? "Copied" : "Copy as command"}
              </Button>
            )}
          </CopyButton>
          <ButtonLink to="/agents/$agentId" params={{ agentId: agent }} variant="subtle" size="compact-md">
            Leave, keep the draft
          </ButtonLink>
        </Group>
      </Stack>
    </Panel>
  );
}
