/** The figures of both sides as they come each second, kept for five minutes. Charts read them in place; React hears of the newest only. */
import type { Series } from "../../components/chart";

export const KEPT_SECONDS = 300;

export interface Side {
  error_rate?: number | null;
  avg_latency_ms?: number | null;
  p95_latency_ms?: number | null;
  latency_ms?: number | null;
  throughput?: number | null;
  traffic_percent?: number | null;
}

const MEASURES = ["error_rate", "p95_latency_ms", "throughput"] as const;
export type Measure = (typeof MEASURES)[number];

export class Figures {
  readonly series: Record<Measure, Series> = { error_rate: empty(), p95_latency_ms: empty(), throughput: empty() };
  private readonly listeners = new Set<() => void>();

  /** A second twice is one point; what is older than five minutes goes. */
  add(seconds: number, blue: Side, green: Side): void {
    for (const measure of MEASURES) {
      const line = this.series[measure];
      const last = line.at[line.at.length - 1];
      if (last !== undefined && seconds <= last) return;
      // More than three seconds without a word: a gap, never a straight line across it.
      if (last !== undefined && seconds - last > 3) push(line, last + 1, null, null);
      push(line, seconds, blue[measure] ?? null, green[measure] ?? null);
      while ((line.at[0] ?? seconds) < seconds - KEPT_SECONDS) shift(line);
    }
    for (const listener of this.listeners) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}

function empty(): Series {
  return { at: [], blue: [], green: [] };
}

function push(line: Series, at: number, blue: number | null, green: number | null): void {
  line.at.push(at);
  line.blue.push(blue);
  line.green.push(green);
}

function shift(line: Series): void {
  line.at.shift();
  line.blue.shift();
  line.green.shift();
}
