/** States as a sign and a word; colour comes on top. */
import type { Tone } from "../theme/tokens";

const SIGNS: Record<Tone, string> = {
  good: "M4 8.5l2.7 2.7L12 5.5",
  bad: "M5 5l6 6M11 5l-6 6",
  warn: "M8 4.5v4M8 11.2v.3",
  busy: "M8 4.5V8l2.5 1.5",
  quiet: "M5 8h6",
};

export function Sign({ tone }: { tone: Tone }) {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" className={`tone-${tone}`}>
      <circle cx="8" cy="8" r="7" fill="none" stroke="currentColor" strokeWidth="1.4" />
      <path
        d={SIGNS[tone]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.7"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

/** Longer ones are sentences, which wrap; a word or two never do. */
const WORDS_MAX = 24;

export function Status({ tone, children }: { tone: Tone; children: string }) {
  return (
    <span className={`status tone-${tone}${children.length > WORDS_MAX ? " status-sentence" : ""}`}>
      <Sign tone={tone} />
      {children}
    </span>
  );
}

const DEPLOYMENTS: Record<string, [Tone, string]> = {
  queued: ["quiet", "Queued"],
  scheduled: ["quiet", "Scheduled"],
  in_progress: ["busy", "In progress"],
  paused: ["warn", "Paused"],
  baking: ["busy", "Baking"],
  rolling_back: ["warn", "Rolling back"],
  completed: ["good", "Completed"],
  rolled_back: ["bad", "Rolled back"],
  cancelled: ["quiet", "Cancelled"],
  failed: ["bad", "Failed"],
};

export function DeploymentStatus({ status }: { status: string }) {
  const [tone, words] = DEPLOYMENTS[status] ?? ["quiet", status];
  return <Status tone={tone}>{words}</Status>;
}

const HEALTH: Record<string, [Tone, string]> = {
  healthy: ["good", "Healthy"],
  degraded: ["warn", "Degraded"],
  down: ["bad", "Down"],
  starting: ["busy", "Starting"],
};

export function Health({ status }: { status: string }) {
  const [tone, words] = HEALTH[status] ?? ["quiet", status.charAt(0).toUpperCase() + status.slice(1)];
  return <Status tone={tone}>{words}</Status>;
}

const INSTANCES: Record<string, [Tone, string]> = {
  starting: ["busy", "Starting"],
  ready: ["good", "Ready"],
  draining: ["warn", "Draining"],
  stopped: ["quiet", "Stopped"],
  failed: ["bad", "Failed"],
};

export function InstanceStatus({ status }: { status: string }) {
  const [tone, words] = INSTANCES[status] ?? ["quiet", status];
  return <Status tone={tone}>{words}</Status>;
}
