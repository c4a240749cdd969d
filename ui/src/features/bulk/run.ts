/** Several upgrades, one after the other or a few at once, as plain values: what may begin next, what became of each, whether the rest is left out. */

export type ItemState = "waiting" | "asking" | "running" | "done" | "failed" | "left_out";

export interface Item {
  agent: string;
  from: string | null;
  to: string;
  state: ItemState;
  /** Its deployment, once the server has taken it. */
  upgrade?: string;
  /** What went wrong, in the server's words. */
  words?: string;
}

export interface Run {
  items: Item[];
  atOnce: number;
  /** Whether nothing more begins after the first that fails. */
  stopOnFailure: boolean;
  strategy: "blue-green" | "canary" | "rolling";
  reason: string;
}

const isActive = (item: Item) => item.state === "asking" || item.state === "running";

/** The agents to begin with now. */
export function next(run: Run): Item[] {
  const places = run.atOnce - run.items.filter(isActive).length;
  return run.items.filter((item) => item.state === "waiting").slice(0, Math.max(0, places));
}

/** With what became of one agent; a failure leaves out what has not begun, if that was asked for. What runs goes on. */
export function became(run: Run, agent: string, change: Partial<Item>): Run {
  const changed = { ...run, items: run.items.map((item) => (item.agent === agent ? { ...item, ...change } : item)) };
  return change.state === "failed" && run.stopOnFailure ? leaveOut(changed) : changed;
}

/** Nothing more begins. */
export function leaveOut(run: Run): Run {
  return {
    ...run,
    items: run.items.map((item) => (item.state === "waiting" ? { ...item, state: "left_out" } : item)),
  };
}

/** As it is found again after the page was reloaded: of what was being asked for nobody knows whether it began, so it is not asked for twice. */
export function foundAgain(run: Run): Run {
  const lost = "The page was reloaded while it was asked for: look at its deployments.";
  return leaveOut({
    ...run,
    items: run.items.map((item) => (item.state === "asking" ? { ...item, state: "failed", words: lost } : item)),
  });
}

export function isOverRun(run: Run): boolean {
  return run.items.every((item) => !isActive(item) && item.state !== "waiting");
}

/** What a deployment's status makes of its item. */
export function stateOfStatus(status: string): ItemState {
  if (status === "completed") return "done";
  return status === "failed" || status === "rolled_back" || status === "cancelled" ? "failed" : "running";
}

export function tally(run: Run): string {
  const counted = (state: ItemState) => run.items.filter((item) => item.state === state).length;
  const under = run.items.filter(isActive).length;
  const parts: [number, string][] = [
    [counted("done"), "done"],
    [under, "under way"],
    [counted("waiting"), "to come"],
    [counted("failed"), "failed"],
    [counted("left_out"), "left out"],
  ];
  return parts
    .filter(([number]) => number > 0)
    .map(([number, words]) => `${number} ${words}`)
    .join(", ");
}
