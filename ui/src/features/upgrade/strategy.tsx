/** Second step: how traffic and instances move. The server's own plan shows at once what that means for this agent. */
import { Group, List, NumberInput, Radio, Stack, Text, TextInput } from "@mantine/core";
import { Asked, Panel } from "../../components/panel";
import type { Draft } from "./draft";
import { missing } from "./draft";
import type { Plan, StepProps } from "./wizard";

const WAYS: { value: Draft["strategy"]; label: string; words: string; use: string }[] = [
  {
    value: "blue-green",
    label: "Blue-green (recommended)",
    words: "All instances of the new version beside the old ones; traffic moves in steps.",
    use: "Back at once. Needs room for both.",
  },
  {
    value: "canary",
    label: "Canary",
    words: "A small part first, watched for a while, then the rest in batches.",
    use: "For risky changes: few are hit when it is bad.",
  },
  {
    value: "rolling",
    label: "Rolling",
    words: "Instance after instance; never fewer than all but one serve.",
    use: "Needs the least room. Takes longer to take back.",
  },
];

const numeric = (value: number | string): number | "" => (value === "" ? "" : Number(value));

export function Strategy({ draft, change, plan }: StepProps) {
  const wrong = missing("strategy", draft, false);
  return (
    <>
      <Panel title="How it moves">
        <Stack gap="md">
          <Radio.Group
            aria-label="Strategy"
            value={draft.strategy}
            onChange={(value) => change({ strategy: value as Draft["strategy"] })}
          >
            <Stack gap="xs">
              {WAYS.map((way) => (
                <label key={way.value} className="choice" htmlFor={`way-${way.value}`}>
                  <Radio
                    id={`way-${way.value}`}
                    value={way.value}
                    label={way.label}
                    description={`${way.words} ${way.use}`}
                  />
                </label>
              ))}
            </Stack>
          </Radio.Group>
          <Group align="flex-start">
            {draft.strategy === "blue-green" && (
              <TextInput
                label="Shares in percent"
                description="Empty: as the agent has it"
                placeholder="25, 50, 100"
                error={wrong || undefined}
                value={draft.shares}
                onChange={(event) => change({ shares: event.currentTarget.value })}
              />
            )}
            {draft.strategy === "canary" && (
              <NumberInput
                label="Part of the instances"
                description="Empty: 10 %"
                suffix=" %"
                min={1}
                max={99}
                value={draft.percent}
                onChange={(value) => change({ percent: numeric(value) })}
              />
            )}
            {draft.strategy !== "blue-green" && (
              <TextInput
                label="Instances at once"
                description="A number, or a part such as 25%"
                placeholder="1"
                error={wrong || undefined}
                value={draft.batch}
                onChange={(event) => change({ batch: event.currentTarget.value })}
              />
            )}
            <NumberInput
              label={draft.strategy === "rolling" ? "Watch between batches" : "Watch each step"}
              description="Empty: as the agent has it"
              suffix=" s"
              min={0}
              max={604800}
              value={draft.watch}
              onChange={(value) => change({ watch: numeric(value) })}
            />
          </Group>
        </Stack>
      </Panel>
      <Panel title="The plan">
        <PlanView plan={plan} />
      </Panel>
    </>
  );
}

export function PlanView({ plan }: { plan: Plan }) {
  return (
    <Asked question={plan} lines={5}>
      {plan.data && (
        <Stack gap="xs">
          <List size="sm" type="ordered" spacing={2}>
            {plan.data.stages.map((stage) => (
              <List.Item key={stage.stage}>{stage.sentence}</List.Item>
            ))}
          </List>
          {plan.data.warnings.map((warning) => (
            <Text key={warning} size="sm" className="tone-warn cut">
              {warning}
            </Text>
          ))}
          {plan.data.refusals.map((refusal) => (
            <Text key={JSON.stringify(refusal)} size="sm" role="alert" className="tone-bad cut">
              {refusal.message} {refusal.hint}
            </Text>
          ))}
        </Stack>
      )}
    </Asked>
  );
}
