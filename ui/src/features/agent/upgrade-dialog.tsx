/** An upgrade, asked for in one dialog: what changes, how, when, and why; the plan is asked of the server with every change of it. */
import { Button, Checkbox, Group, List, NumberInput, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Asked, Failed } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Changelog } from "./versions";

type Body = Schemas["UpgradeBody"];
type Plan = Schemas["PlanView"];

const STRATEGIES = [
  {
    value: "blue-green",
    label: "Blue-green",
    words: "All instances of the new version beside the old ones, traffic moves in steps; back at once.",
  },
  { value: "canary", label: "Canary", words: "A small part first, watched for a while, then the rest in batches." },
  { value: "rolling", label: "Rolling", words: "Instance after instance, with the fewest extra ones." },
] as const;

interface Props {
  agent: string;
  version: Schemas["VersionView"];
  current: string;
  onClose: () => void;
}

export function UpgradeDialog({ agent, version, current, onClose }: Props) {
  const navigate = useNavigate();
  const [strategy, setStrategy] = useState<string>("blue-green");
  const [errors, setErrors] = useState<number | string>(5);
  const [latency, setLatency] = useState<number | string>("");
  const [at, setAt] = useState("");
  const [read, setRead] = useState(false);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const breaking = version.breaking_changes.length > 0;

  const body = {
    target_version: version.version,
    strategy,
    auto_rollback: {
      enabled: true,
      error_rate_threshold: Number(errors) || 5,
      ...(latency ? { latency_threshold_ms: Number(latency) } : {}),
    },
    acknowledge_breaking: read,
    if_version: current,
    ...(at ? { schedule: new Date(at).toISOString() } : {}),
  } as unknown as Body;
  const [asked] = useDebouncedValue(body, 300);
  const plan = api.useQuery(
    "post",
    "/api/platform/agents/{agent_id}/upgrade",
    { params: { path: { agent_id: agent } }, body: { ...asked, dry_run: true, reason: "plan" } },
    { retry: 0, select: (data) => data as unknown as Plan, placeholderData: (before) => before },
  );

  const start = async () => {
    setBusy(true);
    const { data, error } = await http.POST("/api/platform/agents/{agent_id}/upgrade", {
      params: { path: { agent_id: agent } },
      body: { ...body, reason },
    });
    setBusy(false);
    if (error) {
      setProblem(error);
      return;
    }
    const started = data as Schemas["DeploymentView"];
    await navigate({
      to: "/agents/$agentId/deployments/$upgradeId",
      params: { agentId: agent, upgradeId: started.upgrade_id },
    });
  };

  const words = STRATEGIES.find((each) => each.value === strategy)?.words;
  const refused = plan.data?.refusals.length ?? 0;
  return (
    <Dialog title={`Upgrade ${agent} to ${version.version}`} onClose={onClose} size="xl">
      <Stack gap="md">
        <Changelog changelog={version.changelog} />
        {version.migration_notes && <Text className="cut">Migration: {version.migration_notes}</Text>}
        {breaking && (
          <Checkbox
            checked={read}
            onChange={(event) => setRead(event.currentTarget.checked)}
            label={`I have read what breaks: ${version.breaking_changes.join("; ")}`}
          />
        )}
        <div>
          <SegmentedControl
            aria-label="Strategy"
            data={STRATEGIES.map(({ value, label }) => ({ value, label }))}
            value={strategy}
            onChange={setStrategy}
          />
          <Text size="sm" c="dimmed" mt={4}>
            {words}
          </Text>
        </div>
        <Group align="flex-start">
          <NumberInput
            label="Roll back above errors of"
            suffix=" %"
            min={0.1}
            max={100}
            w={200}
            value={errors}
            onChange={setErrors}
          />
          <NumberInput
            label="…and above a latency of"
            suffix=" ms"
            placeholder="no limit"
            min={1}
            w={200}
            value={latency}
            onChange={setLatency}
          />
          <TextInput
            label="Start"
            description={at ? Intl.DateTimeFormat().resolvedOptions().timeZone : "empty: now"}
            type="datetime-local"
            w={220}
            value={at}
            onChange={(event) => setAt(event.currentTarget.value)}
          />
        </Group>
        <Asked question={plan} lines={4}>
          {plan.data && <Steps plan={plan.data} />}
        </Asked>
        <Reason value={reason} onChange={setReason} reasons={["Security fix", "Planned", "Bug fix"]} />
        {problem !== null && <Failed error={problem} />}
        <Text size="sm" c="dimmed" className="cut">
          As a command:{" "}
          <code>{`servicing upgrade ${agent} ${version.version} --strategy ${strategy} --reason ${JSON.stringify(reason || "…")} --watch`}</code>
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Not now
          </Button>
          <Button
            loading={busy}
            disabled={!reason.trim() || refused > 0 || (breaking && !read)}
            onClick={() => void start()}
          >
            {at ? "Schedule it" : "Start deployment"}
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}

function Steps({ plan }: { plan: Plan }) {
  return (
    <Stack gap="xs">
      <Text fw={600}>The plan, about {Math.max(1, Math.round(plan.estimated_duration_minutes))} min</Text>
      <List size="sm" type="ordered" spacing={2}>
        {plan.stages.map((stage) => (
          <List.Item key={stage.stage}>{stage.sentence}</List.Item>
        ))}
      </List>
      {plan.warnings.map((warning) => (
        <Text key={String(warning)} size="sm" className="tone-warn cut">
          {String(warning)}
        </Text>
      ))}
      {plan.refusals.map((refusal) => (
        <Text key={JSON.stringify(refusal)} size="sm" role="alert" className="tone-bad cut">
          {(refusal as { message?: string; detail?: string }).message ??
            (refusal as { detail?: string }).detail ??
            String(refusal)}
        </Text>
      ))}
    </Stack>
  );
}
