/** The page's only WebSocket. It says what changed; what it is now is asked for over HTTP. Ticks of figures go past React to whoever draws them. */
export type LinkState = "connecting" | "live" | "delayed" | "reconnecting" | "offline";

export interface LiveEvent {
  event: string;
  seq?: number;
  agent_id?: string;
  upgrade_id?: string;
  at?: string;
  [key: string]: unknown;
}

type Listener = (event: LiveEvent) => void;

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** The server says something at least every five seconds. */
export const DELAYED_MS = 8_000;
const SILENT_MS = 20_000;
/** Attempts after which the page says that it is offline, and asks over HTTP instead. */
const OFFLINE_AFTER = 3;

export function waitBefore(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return longest / 2 + (longest / 2) * random;
}

export class Live {
  state: LinkState = "connecting";
  private socket: WebSocket | null = null;
  private since: number | null = null;
  private attempts = 0;
  private heardAt = Date.now();
  private timer: number | undefined;
  private watch: number | undefined;
  private readonly listeners = new Set<Listener>();
  private readonly onState = new Set<() => void>();

  constructor(private readonly url: string) {}

  start(): void {
    this.open();
    this.watch = window.setInterval(() => this.look(), 1000);
  }

  stop(): void {
    window.clearTimeout(this.timer);
    window.clearInterval(this.watch);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  /** Try at once instead of at the end of the wait. */
  retry(): void {
    window.clearTimeout(this.timer);
    this.open();
  }

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  watchState(listener: () => void): () => void {
    this.onState.add(listener);
    return () => this.onState.delete(listener);
  }

  private open(): void {
    this.socket?.close();
    const socket = new WebSocket(this.url, ["servicing.v1"]);
    this.socket = socket;
    socket.onopen = () => {
      this.heard();
      socket.send(
        JSON.stringify({ action: "subscribe", brief: true, ...(this.since === null ? {} : { since: this.since }) }),
      );
    };
    socket.onmessage = (message) => {
      if (socket !== this.socket) return;
      this.attempts = 0;
      this.heard();
      this.take(JSON.parse(String(message.data)) as LiveEvent);
    };
    socket.onclose = () => {
      if (socket === this.socket) this.again();
    };
  }

  /** Each number once, in order: what was seen already is not told again. */
  private take(event: LiveEvent): void {
    if (event.event !== "snapshot" && event.seq !== undefined) {
      if (this.since !== null && event.seq <= this.since) return;
    }
    if (event.seq !== undefined) this.since = event.seq;
    for (const listener of this.listeners) listener(event);
  }

  private again(): void {
    this.socket = null;
    this.set(this.attempts >= OFFLINE_AFTER ? "offline" : "reconnecting");
    this.timer = window.setTimeout(() => this.open(), waitBefore(this.attempts, Math.random()));
    this.attempts += 1;
  }

  private heard(): void {
    this.heardAt = Date.now();
    this.set("live");
  }

  private look(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const silent = Date.now() - this.heardAt;
    if (silent > SILENT_MS) this.socket.close();
    else if (silent > DELAYED_MS) this.set("delayed");
  }

  private set(state: LinkState): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.onState) listener();
  }
}
