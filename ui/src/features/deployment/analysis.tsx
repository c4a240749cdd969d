/** What the analysis says of the new version, and what a watch still waits for; who knows better overrides it. */
import { Stack, Text } from "@mantine/core";
import { memo, useMemo, useState } from "react";
import { http, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Panel } from "../../components/panel";
import { Sign } from "../../components/status";
import { duration } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { useLockedOut } from "../agent/lock";
import { type Condition, conditions } from "./conditions";
import type { Side } from "./figures";

type Deployment = Schemas["DeploymentView"];

export function Analysis({ deployment, green }: { deployment: Deployment; green: Side }) {
  const left = deployment.stages.find((stage) => stage.seconds_left != null)?.seconds_left;
  // Between two answers of the server it is counted down with the figures of each second, in the same frame.
  // biome-ignore lint/correctness/useExhaustiveDependencies: each answer has another number
  const answered = useMemo(() => Date.now(), [left]);
  if (!deployment.judgement && left == null) return null;
  return (
    <Panel title="Analysis" aside={<Override deployment={deployment} />}>
      <Stack gap="xs">
        {deployment.overridden_by && (
          <Text className="tone-warn">{deployment.overridden_by} has overridden it: it only tells.</Text>
        )}
        {deployment.judgement && <Text className="cut">{deployment.judgement.sentence}</Text>}
        <ul className="conditions" aria-label="What it waits for">
          {conditions(deployment, green).map((condition) => (
            <Row key={condition.name} {...condition} />
          ))}
          {left != null && (
            <Watch left={left - (Date.now() - answered) / 1000} paused={deployment.status === "paused"} />
          )}
        </ul>
      </Stack>
    </Panel>
  );
}

function Watch({ left, paused }: { left: number; paused: boolean }) {
  if (left <= 0) return <Row tone="good" name="Watch" value="is over" wanted="goes on as soon as the rest allows" />;
  return (
    <Row
      tone="busy"
      name="Watch"
      value={`${duration(left)} left`}
      wanted={paused ? "goes on once it is resumed" : ""}
    />
  );
}

const Row = memo(({ name, tone, value, wanted }: Condition) => (
  <li>
    <Head tone={tone} name={name} />
    <strong>{value}</strong>
    <span className="condition-wanted">{wanted}</span>
  </li>
));

function Head({ tone, name }: { tone: Tone; name: string }) {
  return (
    <span className="condition-name">
      <Sign tone={tone} />
      {name}
    </span>
  );
}

function Override({ deployment }: { deployment: Deployment }) {
  const { agent_id: agent, upgrade_id: upgrade, overridden_by: overriddenBy } = deployment;
  const [asking, setAsking] = useState(false);
  const may = useMay("operator", agent);
  const lockedOut = useLockedOut(agent);
  const why =
    may ||
    lockedOut ||
    (overriddenBy ? `${overriddenBy} did so already.` : "") ||
    (deployment.status === "rolling_back" ? "It is being rolled back." : "");
  return (
    <>
      <Action size="compact-md" variant="default" why={why} onAct={() => setAsking(true)}>
        Override
      </Action>
      {asking && (
        <Confirm
          typed={agent}
          title={`Override the analysis: ${agent} ${deployment.to_version}`}
          words="It still says what it finds, but decides nothing any more in this deployment: nothing is rolled back for errors or latency, and nothing is held for lack of evidence. Health checks and deadlines stay in force."
          act="Override"
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
    </>
  );
}
