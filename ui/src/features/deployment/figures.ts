/** The figures of both sides: as they come each second, kept for five minutes; or a whole deployment's. Charts read them in place. */
import type { Schemas } from "../../api/client";
import type { Series } from "../../components/chart";

export const KEPT_SECONDS = 300;

/** So long without a word is a gap, never a straight line across it. */
const GAP_SECONDS = 3;

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
      if (last !== undefined && seconds - last > GAP_SECONDS) push(line, last + 1, null, null);
      push(line, seconds, blue[measure] ?? null, green[measure] ?? null);
      while ((line.at[0] ?? seconds) < seconds - KEPT_SECONDS) shift(line);
    }
    for (const listener of this.listeners) listener();
  }

  /** Of a deployment from its beginning on. */
  static of(points: Schemas["PointView"][]): Figures {
    const figures = new Figures();
    for (const measure of MEASURES) {
      const line = figures.series[measure];
      for (const { at, seconds, blue, green } of points) {
        const end = Date.parse(at) / 1000;
        const last = line.at[line.at.length - 1];
        if (last !== undefined && end - seconds - last > GAP_SECONDS) push(line, last + 1, null, null);
        push(line, end, blue[measure], green[measure]);
      }
    }
    return figures;
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
