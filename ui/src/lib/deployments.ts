/** What the states and kinds of a deployment mean for the page. */
const OVER = new Set(["completed", "rolled_back", "cancelled", "failed"]);

export function isOver(status: string): boolean {
  return OVER.has(status);
}

/** Whether it waits for its turn, its time or somebody's word: nothing was touched yet. */
export function isWaiting(status: string): boolean {
  return status === "queued" || status === "scheduled";
}

interface UnderWay {
  kind: string;
  status: string;
  operator: string;
  to_version: string;
  current_stage: string | null;
  stages: readonly { stage: string }[];
}

const DOING: Record<string, (version: string) => string> = {
  upgrade: (version) => `is deploying ${version}`,
  rollback: (version) => `is rolling back to ${version}`,
  install: (version) => `is installing ${version}`,
  restart: () => "is restarting it",
};

/** Who does what, as a sentence without its end: ana is deploying 1.5.0, paused. */
export function doing({ kind, status, operator, to_version: version }: UnderWay): string {
  if (status === "rolling_back") return `${version}, which ${operator} was deploying, is being taken back`;
  const what = DOING[kind]?.(version) ?? `has ${kind} under way`;
  return `${operator} ${what}${status === "paused" ? ", paused" : ""}`;
}

/** Step 3 of 8; empty before the first and where it is not known. */
export function stepOf({ stages, current_stage: current }: UnderWay): string {
  const at = stages.findIndex((each) => each.stage === current);
  return at < 0 ? "" : `step ${at + 1} of ${stages.length}`;
}
