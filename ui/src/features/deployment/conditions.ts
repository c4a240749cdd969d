/** What a watch waits for before it goes on, and how far each of it is: the limits of the deployment beside what the new version does now. */
import type { Schemas } from "../../api/client";
import { count, milliseconds, percent } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import type { Side } from "./figures";

type Deployment = Pick<Schemas["DeploymentView"], "auto_rollback" | "judgement" | "overridden_by">;

export interface Condition {
  name: string;
  tone: Tone;
  value: string;
  wanted: string;
}

export const VERDICTS: Record<string, [Tone, string]> = {
  passing: ["good", "Passing"],
  failing: ["bad", "Failing"],
  inconclusive: ["busy", "Not yet clear"],
  no_data: ["quiet", "No requests yet"],
};

export function conditions({ auto_rollback: policy, judgement }: Deployment, green: Side): Condition[] {
  const found: (Condition | null)[] = [
    limited("Errors", green.error_rate, policy.promote_error_rate, policy.error_rate_threshold, percent),
    limited(
      "Latency, 95 % are faster",
      green.p95_latency_ms,
      policy.promote_latency_ms,
      policy.latency_threshold_ms,
      milliseconds,
    ),
  ];
  const kept = policy.enabled ? found.filter((condition) => condition !== null) : [];
  if (!judgement) return kept;
  const enough = judgement.requests >= policy.min_requests;
  const [tone, word] = VERDICTS[judgement.verdict] ?? ["quiet", judgement.verdict];
  return [
    ...kept,
    {
      name: "Requests compared",
      tone: enough ? "good" : "busy",
      value: count(judgement.requests),
      wanted: `at least ${count(policy.min_requests)}`,
    },
    {
      name: "Verdict",
      tone,
      value: word,
      wanted: judgement.missing_requests ? `about ${count(judgement.missing_requests)} more requests are needed` : "",
    },
  ];
}

/** Below the one it may go on, above the other it goes back; in between it does neither by itself. Null where there is no limit. */
function limited(
  name: string,
  value: number | null | undefined,
  on: number | null,
  back: number | null,
  show: (value: number | null | undefined) => string,
): Condition | null {
  if (back === null) return null;
  const tone = value == null ? "quiet" : value > back ? "bad" : on !== null && value > on ? "warn" : "good";
  const wanted =
    on === null ? `rolls back above ${show(back)}` : `goes on below ${show(on)}, rolls back above ${show(back)}`;
  return { name, tone, value: show(value), wanted };
}
