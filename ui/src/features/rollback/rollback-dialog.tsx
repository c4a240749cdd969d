/** Back to an earlier version: two clicks and a reason. Says before the click what will happen, and what becomes of what the agent remembers. */
import { Button, Group, List, Radio, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Command } from "../../components/command";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Asked, Empty, Failed } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Time } from "../../components/time";
import { VersionDifferences } from "../agent/version-differences";
import { backTo } from "./back-to";
import { asked, type Kept, lost, outcome } from "./lost";

type Plan = Schemas["RollbackPlanView"];

export function RollbackDialog({ agent, onClose }: { agent: string; onClose: () => void }) {
  const versions = api.useQuery("get", "/api/platform/agents/{agent_id}/versions", {
    params: { path: { agent_id: agent } },
  });
  // While an upgrade is under way, going back is first of all to what serves beside it.
  const moving = api.useQuery("get", "/api/platform/deployments", {
    params: { query: { agent, state: "running", limit: 1 } },
  });
  const current = versions.data?.current_version ?? "";
  const leaving = moving.data?.upgrades.find((each) => each.kind === "upgrade" && each.to_version !== current);
  const points = backTo(
    versions.data?.rollback_points ?? [],
    current,
    versions.data?.current_deployed_at ?? null,
    leaving !== undefined,
  );
  const [sure, setSure] = useState(false);
  return (
    <Dialog title={`Roll back ${agent}`} onClose={onClose} covered={sure}>
      <Asked question={versions}>
        {moving.isPending ? (
          <Asked question={moving}>{null}</Asked>
        ) : points.length ? (
          <Choice
            agent={agent}
            current={current}
            leaving={leaving?.to_version}
            points={points}
            onClose={onClose}
            sure={sure}
            onSure={setSure}
          />
        ) : (
          <Empty title="There is nothing to go back to">
            Each upgrade leaves a rollback point; the last five are kept.
          </Empty>
        )}
      </Asked>
    </Dialog>
  );
}

interface ChoiceProps {
  agent: string;
  /** The version that serves. */
  current: string;
  /** The one that an upgrade under way brings. */
  leaving?: string;
  points: Schemas["RollbackPointView"][];
  onClose: () => void;
  sure: boolean;
  onSure: (sure: boolean) => void;
}

function Choice({ agent, current, leaving, points, onClose, sure, onSure }: ChoiceProps) {
  const navigate = useNavigate();
  const [target, setTarget] = useState(points.find((point) => point.can_rollback)?.version ?? "");
  const [state, setState] = useState<Kept | null>(null);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const plan = usePlan(agent, target);
  const form = useRef<HTMLDivElement>(null);
  // The dialog was open before there was anything to choose from: its own focus found nothing better than its close button.
  useEffect(() => form.current?.querySelector("textarea")?.focus(), []);

  const rollBack = async () => {
    setBusy(true);
    const { data, error } = await http.POST("/api/platform/agents/{agent_id}/rollback", {
      params: { path: { agent_id: agent } },
      body: { target_version: target, reason, state, if_version: current } as Schemas["RollbackBody"],
    });
    if (error) {
      setBusy(false);
      onSure(false);
      setProblem(error);
      return {};
    }
    const started = data as Schemas["DeploymentView"];
    notifications.show({ message: `${agent} goes back to ${target}.` });
    await navigate({
      to: "/agents/$agentId/deployments/$upgradeId",
      params: { agentId: agent, upgradeId: started.upgrade_id },
    });
    return {};
  };

  const loss = plan.data ? lost(plan.data, state) : "";
  const [comparing, setComparing] = useState(false);
  const from = leaving ?? current;
  const needsChoice = Boolean(plan.data?.choice_needed) && state === null;
  return (
    <Stack gap="md" ref={form}>
      <Text>
        Now: <strong className="mono">{current}</strong>
        {leaving && (
          <>
            , with <strong className="mono">{leaving}</strong> on its way, which is rolled back
          </>
        )}
      </Text>
      <Radio.Group label="Back to" value={target} onChange={setTarget}>
        <Stack gap="xs" mt={6}>
          {points.map((point, place) => (
            <Radio
              key={point.version}
              value={point.version}
              disabled={!point.can_rollback}
              label={<Point point={point} place={leaving ? place - 1 : place} />}
            />
          ))}
        </Stack>
      </Radio.Group>
      <Asked question={plan} lines={2}>
        {plan.data && <Consequences plan={plan.data} state={state} onState={setState} />}
      </Asked>
      <details onToggle={(event) => setComparing(event.currentTarget.open)}>
        <summary>What {target} says differently about configuration and manifest</summary>
        {comparing && <VersionDifferences agent={agent} from={from} to={target} />}
      </details>
      <Reason value={reason} onChange={setReason} />
      {problem !== null && <Failed error={problem} />}
      <Text size="sm" c="dimmed" className="cut">
        As a command:{" "}
        <Command>{`servicing rollback ${agent} ${target} --reason ${JSON.stringify(reason || "…")} --watch`}</Command>
      </Text>
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose}>
          {leaving ? `Keep ${leaving} going` : `Keep ${current}`}
        </Button>
        <Button
          color="danger"
          loading={busy}
          disabled={!reason.trim() || !target || needsChoice}
          onClick={() => (loss ? onSure(true) : void rollBack())}
        >
          Roll back to {target}
        </Button>
      </Group>
      {sure && loss && (
        <Confirm
          typed={agent}
          title={`Roll back ${agent} to ${target}`}
          words={`${loss} Your reason: ${reason}`}
          act={`Roll back to ${target}`}
          keep={leaving ? `Keep ${leaving} going` : `Keep ${current}`}
          onAct={rollBack}
          onClose={() => onSure(false)}
        />
      )}
    </Stack>
  );
}

function usePlan(agent: string, target: string) {
  return api.useQuery(
    "post",
    "/api/platform/agents/{agent_id}/rollback",
    {
      params: { path: { agent_id: agent } },
      body: { target_version: target, reason: "plan", dry_run: true } as Schemas["RollbackBody"],
    },
    { enabled: target !== "", retry: 0, select: (data) => data as unknown as Plan },
  );
}

function Point({ point, place }: { point: Schemas["RollbackPointView"]; place: number }) {
  return (
    <>
      <span className="mono">{point.version}</span>,{" "}
      {place < 0 ? "which serves now" : place === 0 ? "the previous version" : `${place + 1} versions ago`}, deployed{" "}
      <Time at={point.deployed_at} />
    </>
  );
}

function Consequences({ plan, state, onState }: { plan: Plan; state: Kept | null; onState: (state: Kept) => void }) {
  return (
    <Stack gap="xs">
      <Text fw={600}>What will happen</Text>
      <List size="sm" spacing={2}>
        {plan.stages.map((stage) => (
          <List.Item key={stage.stage}>{stage.sentence}</List.Item>
        ))}
      </List>
      {plan.state_sentence && <Text size="sm">Memory: {plan.state_sentence}.</Text>}
      {plan.choices.length > 0 && (
        <Radio.Group
          label="What the agent remembers"
          value={state ?? ""}
          onChange={(value) => onState(value as Kept)}
          required={plan.choice_needed}
        >
          <Stack gap="xs" mt={6}>
            {plan.choices.map((choice) => (
              <Radio
                key={choice.state}
                value={asked(choice.state)}
                disabled={!choice.possible}
                label={outcome(choice)}
                description={choice.sentence}
              />
            ))}
          </Stack>
        </Radio.Group>
      )}
    </Stack>
  );
}
