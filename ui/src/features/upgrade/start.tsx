/** Last step: everything in a sentence, the plan asked anew, and the start. What changed meanwhile is shown instead of being overrun. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { http, type Problem, type Schemas } from "../../api/client";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Failed, Panel } from "../../components/panel";
import { absolute } from "../../lib/format";
import { useLockedOut } from "../agent/lock";
import { backWhen, bodyOf, passes } from "./draft";
import { PlanView } from "./strategy";
import type { StepProps } from "./wizard";

interface Props extends StepProps {
  unanswered: string[];
  may: string;
  forget: () => void;
}

export function Start({ agent, version, current, draft, plan, unanswered, may, forget }: Props) {
  const navigate = useNavigate();
  const [seen, setSeen] = useState(current);
  const queries = useQueryClient();
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const [sure, setSure] = useState(false);
  const lockedOut = useLockedOut(agent);
  const refused = plan.data?.refusals.length ?? 0;
  const why =
    may ||
    lockedOut ||
    (unanswered.length ? `Not answered yet: ${unanswered.join(", ")}.` : "") ||
    (refused ? "The server refuses this plan; see what it says." : "");
  const passed = passes(draft);
  const start = async () => {
    setBusy(true);
    // The version that was shown when this step was opened, so that somebody else's change is not overrun.
    const { data, error } = await http.POST("/api/platform/agents/{agent_id}/upgrade", {
      params: { path: { agent_id: agent } },
      body: bodyOf(draft, version.version, seen),
    });
    setBusy(false);
    setSure(false);
    if (error) {
      setProblem(error);
      await queries.invalidateQueries();
      return {};
    }
    forget();
    const started = data as Schemas["DeploymentView"];
    await navigate({
      to: "/agents/$agentId/deployments/$upgradeId",
      params: { agentId: agent, upgradeId: started.upgrade_id },
    });
    return {};
  };
  const conflict = (problem as Problem | null)?.status === 409;
  return (
    <>
      <Panel title="What will happen">
        <Stack gap="sm">
          <Text className="cut">
            Move {agent} from {current ?? "nothing"} to {version.version} by {draft.strategy},{" "}
            {draft.at ? `beginning ${absolute(new Date(draft.at).toISOString())}` : "beginning at once"}
            {plan.data ? `, in about ${Math.max(1, Math.round(plan.data.estimated_duration_minutes))} min` : ""};{" "}
            {draft.rollback
              ? `back by itself ${plan.data ? backWhen(plan.data.auto_rollback) : "when it is proved worse"}`
              : "it does not go back by itself"}
            .
          </Text>
          <Text className="cut">Reason: {draft.reason || "none yet"}</Text>
          {passed.map((each) => (
            <Text key={each} className="tone-warn">
              {each}
            </Text>
          ))}
          <PlanView plan={plan} />
        </Stack>
      </Panel>
      {problem !== null && (
        <Panel title={conflict ? "Something changed meanwhile" : "It was not started"}>
          {conflict && current !== seen && (
            <Stack gap="xs">
              <Text>
                {agent} had {seen ?? "nothing"} when you came here; now it has {current ?? "nothing"}. Your answers are
                kept.
              </Text>
              <Button
                variant="default"
                w="fit-content"
                onClick={() => {
                  setSeen(current);
                  setProblem(null);
                }}
              >
                Go on from {current ?? "nothing"}
              </Button>
            </Stack>
          )}
          <Failed error={problem} again={() => void plan.refetch()} />
        </Panel>
      )}
      <Group justify="space-between">
        <Button
          variant="default"
          onClick={() =>
            void navigate({
              to: "/agents/$agentId/upgrade",
              params: { agentId: agent },
              search: { version: version.version, step: "schedule" },
            })
          }
        >
          Back
        </Button>
        <Action loading={busy} why={why} onAct={() => (passed.length ? setSure(true) : void start())}>
          {draft.at ? "Schedule it" : "Start deployment"}
        </Action>
      </Group>
      {sure && (
        <Confirm
          typed={agent}
          title={`${agent} to ${version.version} all the same`}
          words={`${passed.join(" ")} The audit keeps that it was you, with your reason: ${draft.reason}`}
          act={draft.at ? "Schedule it" : "Start deployment"}
          keep="Not like this"
          onAct={start}
          onClose={() => setSure(false)}
        />
      )}
    </>
  );
}
