import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ASK_AFTER_MS, DELAYED_MS, HANDSHAKE_MS, Live, OFFLINE_AFTER, SILENT_MS, waitBefore } from "./live";

/** The other end, as far as the page knows it. */
class Wire {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  readyState = Wire.CONNECTING;
  readonly said: Record<string, unknown>[] = [];
  onopen = () => {};
  onmessage = (_: { data: string }) => {};
  onclose = () => {};
  send(text: string) {
    this.said.push(JSON.parse(text) as Record<string, unknown>);
  }
  close() {
    this.readyState = 3;
  }
  accept() {
    this.readyState = Wire.OPEN;
    this.onopen();
  }
  tell(message: Record<string, unknown>) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  end() {
    this.readyState = 3;
    this.onclose();
  }
}

function world() {
  const wires: Wire[] = [];
  const live = new Live("ws://here", () => {
    wires.push(new Wire());
    return wires[wires.length - 1] as unknown as WebSocket;
  });
  const told: unknown[] = [];
  live.subscribe((event) => told.push(event.seq));
  live.start();
  return { live, told, wire: (): Wire => wires[wires.length - 1] as Wire, wires };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", Wire);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the wait before another attempt", () => {
  it("doubles up to half a minute and is never the same for everybody", () => {
    expect([0, 1, 2, 20].map((attempt) => waitBefore(attempt, 1))).toEqual([500, 1000, 2000, 30_000]);
    expect(waitBefore(20, 0)).toBe(15_000);
  });
});

describe("the connection", () => {
  it("tells each number once and in order, whatever comes twice or late", () => {
    const { told, wire } = world();
    wire().accept();
    wire().tell({ event: "snapshot", seq: 4 });
    for (const seq of [5, 5, 7, 6, 3, 8]) wire().tell({ event: "x", seq });
    expect(told).toEqual([4, 5, 7, 8]);
  });

  it("goes on after what was seen when it comes back", () => {
    const { live, wire } = world();
    wire().accept();
    expect(wire().said).toEqual([{ action: "subscribe", brief: true }]);
    wire().tell({ event: "snapshot", seq: 4 });
    wire().end();
    expect(live.state).toBe("reconnecting");
    vi.advanceTimersByTime(500);
    wire().accept();
    expect(wire().said).toEqual([{ action: "subscribe", brief: true, since: 4 }]);
    expect(live.state).toBe("live");
  });

  it("begins anew with a server whose log was put back", () => {
    const { told, wire } = world();
    wire().accept();
    wire().tell({ event: "snapshot", seq: 90 });
    wire().tell({ event: "error", code: "since_ahead" });
    expect(wire().said[1]).toEqual({ action: "subscribe", brief: true });
    wire().tell({ event: "snapshot", seq: 3 });
    wire().tell({ event: "x", seq: 4 });
    expect(told).toEqual([90, 3, 4]);
  });

  it("says when it tries again, and that it is offline after some attempts", () => {
    const { live, wire, wires } = world();
    for (let attempt = 0; attempt <= OFFLINE_AFTER; attempt += 1) {
      expect(live.state).toBe(attempt ? "reconnecting" : "connecting");
      wire().end();
      expect(live.retryAt).toBeGreaterThan(Date.now());
      if (attempt < OFFLINE_AFTER) vi.advanceTimersByTime(waitBefore(attempt, 1));
    }
    expect([live.state, wires.length]).toEqual(["offline", OFFLINE_AFTER + 1]);
    live.retry();
    expect([live.retryAt, wires.length]).toEqual([null, OFFLINE_AFTER + 2]);
  });

  it("asks for a sign of life before it calls silence a delay, and gives up a connection that stays silent", () => {
    const { live, wire, wires } = world();
    wire().accept();
    const quiet = wire();
    vi.advanceTimersByTime(ASK_AFTER_MS + 1000);
    expect(quiet.said[1]).toEqual({ action: "ping" });
    quiet.tell({ event: "pong" });
    vi.advanceTimersByTime(DELAYED_MS);
    expect(live.state).toBe("live");
    vi.advanceTimersByTime(2000);
    expect(live.state).toBe("delayed");
    vi.advanceTimersByTime(SILENT_MS);
    expect(wires.length).toBeGreaterThan(1);
  });

  it("does not wait for ever for an answer to its first word", () => {
    const { live, wires } = world();
    vi.advanceTimersByTime(HANDSHAKE_MS + 2000);
    expect(["reconnecting", "offline"]).toContain(live.state);
    expect(wires.length).toBeGreaterThan(1);
  });
});
