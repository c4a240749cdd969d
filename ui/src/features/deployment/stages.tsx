/** Every stage with what became of it and how long it took. */
import { Text } from "@mantine/core";
import { memo } from "react";
import type { Schemas } from "../../api/client";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { stageName, took } from "../../lib/format";
import type { Tone } from "../../theme/tokens";

type StageView = Schemas["StageView"];

export const Stages = memo(({ stages }: { stages: StageView[] }) => (
  <Panel title="Stages">
    <ol className="steps">
      {stages.map((stage) => (
        <Stage key={stage.stage} stage={stage} />
      ))}
    </ol>
  </Panel>
));

const STAGES: Record<string, [Tone, string]> = {
  pending: ["quiet", "pending"],
  in_progress: ["busy", "in progress"],
  completed: ["good", ""],
  failed: ["bad", "failed"],
  skipped: ["quiet", "skipped"],
};

const Stage = memo(({ stage }: { stage: StageView }) => {
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
});
