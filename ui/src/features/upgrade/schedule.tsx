/** Fourth step: when, and under which limits it goes back by itself; and why it is done. */
import { Button, Checkbox, Group, NumberInput, Radio, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Panel } from "../../components/panel";
import { Reason } from "../../components/reason";
import { useNow } from "../../components/time";
import { ago, milliseconds, percent } from "../../lib/format";
import { whence } from "../../lib/thresholds";
import type { Draft } from "./draft";
import type { StepProps } from "./wizard";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const numeric = (value: number | string): number | "" => (value === "" ? "" : Number(value));

export function Schedule({ agent, draft, change, plan }: StepProps) {
  return (
    <>
      <When draft={draft} change={change} plan={plan} agent={agent} />
      <Safety agent={agent} draft={draft} change={change} />
      <Panel title="Why">
        <Reason
          value={draft.reason}
          onChange={(reason) => change({ reason })}
          reasons={["Security fix", "Planned", "Bug fix", "Faster"]}
        />
      </Panel>
    </>
  );
}

function When({ agent, draft, change, plan }: Pick<StepProps, "agent" | "draft" | "change" | "plan">) {
  const now = useNow();
  const admin = useMay("admin", agent);
  const [later, setLater] = useState(Boolean(draft.at));
  const calendar = (plan.data?.warnings ?? []).filter((warning) =>
    /freeze|window|stopp|busy|queue|under way/i.test(warning),
  );
  return (
    <Panel title="When">
      <Stack gap="sm">
        <Radio.Group
          aria-label="When it begins"
          value={later ? "later" : "now"}
          onChange={(value) => {
            setLater(value === "later");
            if (value === "now") change({ at: "" });
          }}
        >
          <Group>
            <Radio value="now" label="Now" />
            <Radio value="later" label="At a time" />
          </Group>
        </Radio.Group>
        {later && (
          <TextInput
            label="Begins"
            type="datetime-local"
            maw={260}
            description={`Time zone: ${zone}${draft.at ? `, ${ago(new Date(draft.at).toISOString(), now)}` : ""}`}
            value={draft.at}
            onChange={(event) => change({ at: event.currentTarget.value })}
          />
        )}
        {calendar.map((warning) => (
          <Text key={warning} size="sm" className="tone-warn cut">
            {warning}
          </Text>
        ))}
        <Radio.Group
          label="When another deployment is under way"
          value={draft.whenBusy}
          onChange={(value) => change({ whenBusy: value as typeof draft.whenBusy })}
        >
          <Group mt={4}>
            <Radio value="queue" label="Wait for it" />
            <Radio value="reject" label="Refuse this one" />
            <Radio value="take_over" label="Take it over" description={admin} disabled={Boolean(admin)} />
          </Group>
        </Radio.Group>
        <Checkbox
          label="Begin in spite of a freeze"
          description={admin}
          disabled={Boolean(admin)}
          checked={draft.overrideFreeze}
          onChange={(event) => change({ overrideFreeze: event.currentTarget.checked })}
        />
      </Stack>
    </Panel>
  );
}

function Safety({ agent, draft, change }: Pick<StepProps, "agent" | "draft" | "change">) {
  const metrics = api.useQuery("get", "/api/platform/agents/{agent_id}/metrics", {
    params: { path: { agent_id: agent }, query: { window: 300 } },
  });
  const now = metrics.data?.generations.find((each) => each.requests > 0);
  const defaults = api.useQuery("get", "/api/platform/agents/{agent_id}/thresholds", {
    params: { path: { agent_id: agent } },
  });
  const errors = limit(draft.errors, defaults.data?.in_force.error_rate_threshold, agent);
  const latency = limit(draft.latency, defaults.data?.in_force.latency_threshold_ms, agent);
  return (
    <Panel title="Safety">
      <Stack gap="sm">
        <Switch
          label="Roll back by itself"
          description="When a limit is proved to be exceeded, or the new version proved to be worse"
          checked={draft.rollback}
          onChange={(event) => change({ rollback: event.currentTarget.checked })}
        />
        <Group align="flex-start">
          <NumberInput
            label="Errors above"
            suffix=" %"
            min={0.1}
            max={100}
            disabled={!draft.rollback}
            placeholder="no limit"
            description={`${errors.from}; now ${percent(now?.error_rate)}`}
            value={errors.value}
            onChange={(value) => typed(value, errors.value) && change({ errors: numeric(value) })}
          />
          <NumberInput
            label="95 % slower than"
            suffix=" ms"
            placeholder="no limit"
            min={1}
            disabled={!draft.rollback}
            description={`${latency.from}; now ${milliseconds(now?.p95_latency_ms)}`}
            value={latency.value}
            onChange={(value) => typed(value, latency.value) && change({ latency: numeric(value) })}
          />
          <NumberInput
            label="Watch after 100 %"
            suffix=" s"
            placeholder="as the agent has it"
            min={0}
            max={604800}
            description="Goes back if it turns bad"
            value={draft.bake}
            onChange={(value) => change({ bake: numeric(value) })}
          />
        </Group>
        {draft.rollback && (draft.errors !== null || draft.latency !== null) && (
          <Button
            variant="subtle"
            size="compact-md"
            w="fit-content"
            onClick={() => change({ errors: null, latency: null })}
          >
            Take the default limits
          </Button>
        )}
      </Stack>
    </Panel>
  );
}

/** A field that is only filled in with what is set says so too; that is nobody's wish. */
const typed = (value: number | string, shown: number | "") => numeric(value) !== shown;

/** What a field shows: what was typed, else what will be in force, and who says so. */
function limit(typed: Draft["errors"], set: Schemas["ThresholdView"] | undefined, agent: string) {
  if (typed !== null) return { value: typed, from: "For this upgrade" };
  const words = set ? whence(set.origin, agent) : "default";
  return { value: set?.value ?? ("" as const), from: words.charAt(0).toUpperCase() + words.slice(1) };
}
