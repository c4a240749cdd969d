/** Carries a run out for as long as this tab is open, whatever page it shows. Reloaded, it watches what runs and begins nothing more by itself. */
import { useSyncExternalStore } from "react";
import { http, problemOf, type Schemas } from "../../api/client";
import { keep, kept } from "../../lib/store";
import { became, foundAgain, type Item, isOverRun, leaveOut, next, type Run, stateOfStatus } from "./run";

const KEY = "upgrade of several";
const LOOK_MS = 3000;

let run: Run | null = null;
let timer: number | undefined;
const listeners = new Set<() => void>();

const before = kept<Run>(KEY);
if (before) change(isOverRun(before) ? before : foundAgain(before));

export function useRun(): Run | null {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => run,
  );
}

export function begin(wanted: Run): void {
  change(wanted);
}

/** What has not begun is left out; what runs goes on. */
export function stop(): void {
  if (run) change(leaveOut(run));
}

/** Only of a run that is over. */
export function forget(): void {
  if (run && isOverRun(run)) change(null);
}

function change(to: Run | null): void {
  run = to;
  keep(KEY, to);
  for (const listener of listeners) listener();
  window.removeEventListener("beforeunload", warn);
  window.clearTimeout(timer);
  if (!run || isOverRun(run)) return;
  if (run.items.some((item) => item.state === "waiting")) window.addEventListener("beforeunload", warn);
  for (const item of next(run)) void ask(item);
  timer = window.setTimeout(() => void look(), LOOK_MS);
}

/** Leaving would leave out what has not begun. */
function warn(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

function tell(agent: string, what: Partial<Item>): void {
  if (run) change(became(run, agent, what));
}

async function ask(item: Item): Promise<void> {
  // Whoever was told in between may have begun it, or left it out.
  if (run?.items.find((each) => each.agent === item.agent)?.state !== "waiting") return;
  const { strategy, reason } = run;
  tell(item.agent, { state: "asking" });
  try {
    const { data, error } = await http.POST("/api/platform/agents/{agent_id}/upgrade", {
      params: { path: { agent_id: item.agent } },
      body: {
        target_version: item.to,
        strategy,
        reason,
        when_busy: "reject",
        ...(item.from ? { if_version: item.from } : {}),
      } as unknown as Schemas["UpgradeBody"],
    });
    if (error) tell(item.agent, { state: "failed", words: words(error) });
    else tell(item.agent, { state: "running", upgrade: (data as Schemas["DeploymentView"]).upgrade_id });
  } catch (error) {
    tell(item.agent, { state: "failed", words: words(error) });
  }
}

/** How far those are that run. One that cannot be asked for now is asked for again. */
async function look(): Promise<void> {
  const running = run?.items.filter((item) => item.state === "running") ?? [];
  for (const { agent, upgrade } of running) {
    if (!upgrade) continue;
    try {
      const { data } = await http.GET("/api/platform/agents/{agent_id}/upgrades/{upgrade_id}", {
        params: { path: { agent_id: agent, upgrade_id: upgrade } },
      });
      const state = stateOfStatus(data?.status ?? "");
      if (data && state !== "running") tell(agent, { state, words: state === "failed" ? ended(data) : undefined });
    } catch {
      // The connection is away; the next look comes.
    }
  }
  if (run && !isOverRun(run)) {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => void look(), LOOK_MS);
  }
}

const words = (error: unknown): string => Object.values(problemOf(error)).slice(0, 2).filter(Boolean).join(" ");

function ended(deployment: Schemas["DeploymentView"]): string {
  return deployment.rollback?.reason || deployment.message || deployment.status.replaceAll("_", " ");
}
