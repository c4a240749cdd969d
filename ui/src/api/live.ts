/** The page's only WebSocket. It says what changed; what it is now is asked for over HTTP. Ticks of figures go past React to whoever draws them. */
export type LinkState = "connecting" | "live" | "delayed" | "reconnecting" | "offline";

export interface LiveEvent {
  event: string;
  seq?: number;
  agent_id?: string;
  upgrade_id?: string;
  at?: string;
  /** Of a snapshot: whether the connection had been away before it. */
  back?: boolean;
  [key: string]: unknown;
}

type Listener = (event: LiveEvent) => void;

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** On a quiet connection the page asks for a sign of life, so that silence means something long before the server's own heartbeat. */
export const ASK_AFTER_MS = 4_000;
export const DELAYED_MS = 8_000;
export const SILENT_MS = 20_000;
/** A proxy that lets no WebSocket through may leave the question without any answer. */
export const HANDSHAKE_MS = 10_000;
/** Attempts after which the page says that it is offline, and asks over HTTP instead. */
export const OFFLINE_AFTER = 3;

export function waitBefore(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return longest / 2 + (longest / 2) * random;
}

export class Live {
  state: LinkState = "connecting";
  /** When something was heard last, and when the next attempt begins, in milliseconds since 1970; null while there is none to wait for. */
  heardAt = Date.now();
  retryAt: number | null = null;
  private socket: WebSocket | null = null;
  private since: number | null = null;
  private opened = 0;
  private attempts = 0;
  private openedAt = 0;
  private askedAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watch: ReturnType<typeof setInterval> | undefined;
  private readonly listeners = new Set<Listener>();
  private readonly onState = new Set<() => void>();

  constructor(
    private readonly url: string,
    private readonly connect = (url: string): WebSocket => new WebSocket(url, ["servicing.v1"]),
  ) {}

  start(): void {
    this.open();
    this.watch = setInterval(() => this.look(), 1000);
  }

  stop(): void {
    clearTimeout(this.timer);
    clearInterval(this.watch);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  /** Try at once instead of at the end of the wait, if there is one. */
  readonly retry = (): void => {
    if (this.retryAt === null) return;
    clearTimeout(this.timer);
    this.open();
  };

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
    this.retryAt = null;
    this.openedAt = Date.now();
    const socket = this.connect(this.url);
    this.socket = socket;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      this.opened += 1;
      this.heard();
      this.ask();
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

  /** Everything after what was seen, or everything from now on. */
  private ask(): void {
    const since = this.since === null ? {} : { since: this.since };
    this.socket?.send(JSON.stringify({ action: "subscribe", brief: true, ...since }));
  }

  /** Each number once, in order: what was seen already is not told again. */
  private take(event: LiveEvent): void {
    if (event.event === "error" && event.code === "since_ahead") {
      // The server's log was put back, from a backup: what was seen counts no more.
      this.since = null;
      this.ask();
      return;
    }
    if (event.event !== "snapshot" && event.seq !== undefined) {
      if (this.since !== null && event.seq <= this.since) return;
    }
    if (event.seq !== undefined) this.since = event.seq;
    const told = event.event === "snapshot" ? { ...event, back: this.opened > 1 } : event;
    for (const listener of this.listeners) listener(told);
  }

  private again(): void {
    this.socket = null;
    const wait = waitBefore(this.attempts, Math.random());
    this.retryAt = Date.now() + wait;
    this.timer = setTimeout(() => this.open(), wait);
    this.set(this.attempts >= OFFLINE_AFTER ? "offline" : "reconnecting");
    this.attempts += 1;
  }

  private heard(): void {
    this.heardAt = Date.now();
    this.set("live");
  }

  private look(): void {
    const now = Date.now();
    if (this.socket?.readyState === WebSocket.CONNECTING && now - this.openedAt > HANDSHAKE_MS) this.drop();
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const silent = now - this.heardAt;
    if (silent > SILENT_MS) {
      this.drop();
    } else if (silent > ASK_AFTER_MS && now - this.askedAt > ASK_AFTER_MS) {
      this.askedAt = now;
      this.socket.send(JSON.stringify({ action: "ping" }));
    }
    if (silent > DELAYED_MS && this.socket) this.set("delayed");
  }

  /** Without waiting for the other side, which may be gone, to agree. */
  private drop(): void {
    this.socket?.close();
    this.again();
  }

  private set(state: LinkState): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.onState) listener();
  }
}
