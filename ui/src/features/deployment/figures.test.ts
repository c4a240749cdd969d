import { describe, expect, it } from "vitest";
import { Figures, KEPT_SECONDS } from "./figures";

const side = (error_rate: number | null) => ({ error_rate, p95_latency_ms: 10, throughput: 5 });

describe("figures of a deployment", () => {
  it("keep five minutes and no second twice", () => {
    const figures = new Figures();
    for (let second = 0; second <= KEPT_SECONDS + 50; second += 1) figures.add(second, side(0.5), side(null));
    figures.add(KEPT_SECONDS + 50, side(99), side(99));
    const line = figures.series.error_rate;
    expect([line.at[0], line.at.length, line.blue[line.blue.length - 1]]).toEqual([50, KEPT_SECONDS + 1, 0.5]);
    expect(line.green.every((value) => value === null)).toBe(true);
  });

  it("show a gap where the connection was away", () => {
    const figures = new Figures();
    figures.add(1, side(1), side(1));
    figures.add(9, side(2), side(2));
    expect(figures.series.error_rate.at).toEqual([1, 2, 9]);
    expect(figures.series.error_rate.blue).toEqual([1, null, 2]);
  });

  it("of a whole deployment are those that were kept, with a gap where nobody measured", () => {
    const kept = { avg_latency_ms: 9, requests: 10, ...side(0.5) } as const;
    const point = (second: number, seconds: number) => ({
      at: new Date(second * 1000).toISOString(),
      seconds,
      traffic_percent: 25,
      blue: kept,
      green: { ...kept, error_rate: null },
    });
    const { error_rate: line } = Figures.of([point(1000.5, 1), point(1010.5, 10), point(1030, 10)]).series;
    expect(line.at).toEqual([1000.5, 1010.5, 1011.5, 1030]);
    expect(line.blue).toEqual([0.5, 0.5, null, 0.5]);
    expect(line.green.every((value) => value === null)).toBe(true);
  });

  it("tell whoever draws them", () => {
    const figures = new Figures();
    let told = 0;
    const stop = figures.subscribe(() => {
      told += 1;
    });
    figures.add(1, side(1), side(1));
    stop();
    figures.add(2, side(1), side(1));
    expect(told).toBe(1);
  });
});
