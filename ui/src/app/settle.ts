/** When to ask again after events, and what: soon after the first, then at most once a second however many come, and only what they concern. */

export const FIRST_MS = 150;
/** Several people at once see one another's acts within about a second; a storm of events costs no more than this. */
export const GAP_MS = 1000;

/** What events were heard of since the last time. An event of no agent may have changed anything. */
export interface Concern {
  agents: ReadonlySet<string>;
  everything: boolean;
}

interface Timers {
  set: (run: () => void, ms: number) => number;
  clear: (timer: number) => void;
  now: () => number;
}

const real: Timers = {
  set: (run, ms) => window.setTimeout(run, ms),
  clear: (timer) => window.clearTimeout(timer),
  now: () => performance.now(),
};

export class Settler {
  private agents = new Set<string>();
  private everything = false;
  private timer: number | undefined;
  private notBefore = 0;

  constructor(
    private readonly ask: (of: Concern) => void,
    private readonly timers: Timers = real,
  ) {}

  heard(agent: string | null | undefined): void {
    if (agent) this.agents.add(agent);
    else this.everything = true;
    this.timer ??= this.timers.set(() => this.settle(), Math.max(FIRST_MS, this.notBefore - this.timers.now()));
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.clear(this.timer);
    this.timer = undefined;
  }

  private settle(): void {
    const of = { agents: this.agents, everything: this.everything };
    this.timer = undefined;
    this.notBefore = this.timers.now() + GAP_MS;
    this.agents = new Set();
    this.everything = false;
    this.ask(of);
  }
}

/** Whether a question may have another answer now. One about a single agent names it in its address, a list may hold any of them. */
export function concerns(key: readonly unknown[], of: Concern): boolean {
  if (key[0] === "me") return false;
  if (of.everything) return true;
  const asked = key[2] as { params?: { path?: { agent_id?: string } } } | undefined;
  const agent = asked?.params?.path?.agent_id;
  return agent === undefined || of.agents.has(agent);
}
