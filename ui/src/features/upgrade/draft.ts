/** What the wizard asks for, as plain values: turned into the request, into the same words for the command line, and into what is still missing. */
import type { Schemas } from "../../api/client";
import { quoted } from "../../lib/words";

export const STEPS = ["review", "strategy", "test", "schedule", "start"] as const;
export type Step = (typeof STEPS)[number];

export interface Draft {
  strategy: "blue-green" | "canary" | "rolling";
  /** Shares in percent as they are typed: "25, 50, 100". */
  shares: string;
  watch: number | "";
  percent: number | "";
  batch: string;
  read: boolean;
  override: boolean;
  at: string;
  rollback: boolean;
  /** Null: as it is set for the agent; empty: no limit. */
  errors: number | "" | null;
  latency: number | "" | null;
  bake: number | "";
  whenBusy: "queue" | "reject" | "take_over";
  overrideFreeze: boolean;
  reason: string;
}

export const FRESH: Draft = {
  strategy: "blue-green",
  shares: "",
  watch: "",
  percent: "",
  batch: "",
  read: false,
  override: false,
  at: "",
  rollback: true,
  errors: null,
  latency: null,
  bake: "",
  whenBusy: "queue",
  overrideFreeze: false,
  reason: "",
};

export function sharesOf(text: string): number[] | null {
  const found = text
    .split(/[\s,;%]+/)
    .filter(Boolean)
    .map(Number);
  const growing = found.every((share, at) => share > 0 && share <= 100 && share > (found[at - 1] ?? 0));
  return found.length > 0 && found.length <= 20 && growing && found.at(-1) === 100 ? found : null;
}

/** What stands in the way of this step, in a sentence; empty when it is answered. */
export function missing(step: Step, draft: Draft, breaking: boolean): string {
  if (step === "review" && breaking && !draft.read) return "Confirm that you have read what breaks.";
  if (step === "strategy") {
    if (draft.strategy === "blue-green" && draft.shares && !sharesOf(draft.shares))
      return "Shares grow and the last one is 100, such as 10, 50, 100.";
    if (draft.strategy !== "blue-green" && draft.batch && !/^[1-9]\d*%?$/.test(draft.batch.trim()))
      return "A batch is a number of instances such as 2, or a part such as 25%.";
  }
  if (step === "schedule") {
    if (draft.at && !(Date.parse(draft.at) > Date.now()))
      return "The start is in the past: choose a later one, or none for now.";
    if (!draft.reason.trim()) return "Say why: it is kept in the audit.";
  }
  return "";
}

/** What it passes that would hold others back, as sentences; such a start wants the agent's name typed. */
export function passes(draft: Draft): string[] {
  return [
    draft.override ? "Without a passed staging run." : "",
    draft.overrideFreeze ? "In spite of freezes and a stopped line." : "",
    draft.whenBusy === "take_over" ? "What somebody else has under way is taken back." : "",
  ].filter(Boolean);
}

const number = (value: number | ""): number | undefined => (value === "" ? undefined : value);

export function bodyOf(draft: Draft, version: string, current: string | null): Schemas["UpgradeBody"] {
  const batch = draft.batch.trim();
  const size = batch ? (batch.endsWith("%") ? batch : Number(batch)) : undefined;
  const watch = number(draft.watch);
  const ways = {
    "blue-green": { blue_green: { steps: sharesOf(draft.shares) ?? undefined, monitor_seconds: watch } },
    canary: { canary: { percent: number(draft.percent), monitor_seconds: watch, batch_size: size } },
    rolling: { rolling: { batch_size: size, pause_seconds: watch } },
  };
  return {
    target_version: version,
    strategy: draft.strategy,
    reason: draft.reason.trim(),
    auto_rollback: {
      enabled: draft.rollback,
      ...(draft.rollback && draft.errors !== null ? { error_rate_threshold: number(draft.errors) ?? null } : {}),
      ...(draft.rollback && draft.latency !== null ? { latency_threshold_ms: number(draft.latency) ?? null } : {}),
    },
    acknowledge_breaking: draft.read,
    override_staging: draft.override,
    override_freeze: draft.overrideFreeze,
    when_busy: draft.whenBusy,
    ...(current ? { if_version: current } : {}),
    ...(draft.at ? { schedule: new Date(draft.at).toISOString() } : {}),
    ...(draft.bake !== "" ? { bake_seconds: draft.bake } : {}),
    ...ways[draft.strategy],
  } as unknown as Schemas["UpgradeBody"];
}

const limit = (value: number | "" | null) => (value === null ? undefined : value === "" ? "none" : value);

/** When it goes back by itself, from what the server says will be in force. */
export function backWhen(limits: Schemas["PolicyView"]): string {
  const { error_rate_threshold: errors, latency_threshold_ms: latency } = limits;
  const said = [errors === null ? "" : `above ${errors} % errors`, latency === null ? "" : `above ${latency} ms`];
  return [...said, "when it is proved worse"].filter(Boolean).join(", or ");
}

/** The same upgrade for the command line. Only what differs from the defaults is named. */
export function commandOf(draft: Draft, agent: string, version: string): string {
  const words = ["servicing", "upgrade", agent, version, "--strategy", draft.strategy];
  const add = (option: string, value: string | number | undefined) => {
    if (value !== undefined && value !== "") words.push(option, String(value));
  };
  if (draft.strategy === "blue-green") add("--steps", sharesOf(draft.shares)?.join(","));
  if (draft.strategy === "canary") add("--percent", draft.percent);
  if (draft.strategy !== "blue-green") add("--batch-size", draft.batch.trim());
  add(draft.strategy === "rolling" ? "--pause-seconds" : "--monitor-seconds", draft.watch);
  if (draft.rollback) {
    add("--error-rate-threshold", limit(draft.errors));
    add("--latency-threshold-ms", limit(draft.latency));
  } else words.push("--no-auto-rollback");
  add("--bake-seconds", draft.bake);
  if (draft.at) add("--at", new Date(draft.at).toISOString());
  if (draft.whenBusy !== FRESH.whenBusy) add("--when-busy", draft.whenBusy);
  if (draft.read) words.push("--acknowledge-breaking");
  if (draft.override) words.push("--override-staging");
  if (draft.overrideFreeze) words.push("--override-freeze");
  words.push("--reason", quoted(draft.reason.trim() || "…"), "--watch");
  return words.join(" ");
}
