/** Two lines over time, drawn outside React: a figure a second costs about four milliseconds here, not a render of the page. */
import { useComputedColorScheme } from "@mantine/core";
import { memo, useEffect, useRef } from "react";
import uPlot from "uplot";
import { clock } from "../lib/format";

export interface Series {
  /** Seconds, rising; null where nobody measured, which leaves a gap. */
  at: number[];
  blue: (number | null)[];
  green: (number | null)[];
}

const HEIGHT = 120;

interface Drawn {
  series: Series;
  threshold: number | null;
  /** Seconds: a moment that a line across marks. */
  mark?: number | null;
  subscribe: (redraw: () => void) => () => void;
}

/** Its label says the newest figures, so it changes each second; what is drawn is told by `subscribe` and stays. */
export function Chart({ label, ...drawn }: Drawn & { label: string }) {
  return (
    <div role="img" aria-label={label}>
      <Plot {...drawn} />
    </div>
  );
}

const Plot = memo(({ series, threshold, mark = null, subscribe }: Drawn) => {
  const place = useRef<HTMLDivElement>(null);
  const colorScheme = useComputedColorScheme("light"); // with "as the system" the system may change it
  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours come from the style sheet, which the scheme changes
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--mantine-color-dimmed"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const limit =
      threshold === null
        ? []
        : [{ label: "limit", stroke: colour("--tone-bad"), dash: [2, 4], width: 1.5, points: { show: false } }];
    const plot = new uPlot(
      {
        width: box.clientWidth || 300,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false },
        scales: {
          // Without anything measured yet: the last minute, not the next years.
          x: {
            range: (_, first, last) =>
              first == null || (first === last && mark === null)
                ? lastMinute()
                : [Math.min(first, mark ?? first), Math.max(last, mark ?? last)],
          },
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, threshold ?? 0, 1) * 1.15] },
        },
        axes: [
          { ...axis, size: 28, space: 70, values: (_, ticks) => ticks.map(clock) },
          { ...axis, size: 44 },
        ],
        series: [
          {},
          { label: "now", stroke: colour("--tone-blue"), width: 2, points: { show: false } },
          { label: "new", stroke: colour("--tone-green"), width: 2, dash: [6, 4], points: { show: false } },
          ...limit,
        ],
        hooks: { draw: mark === null ? [] : [(drawn) => line(drawn, mark, colour("--tone-bad"))] },
      },
      data(series, threshold),
      box,
    );
    const stop = subscribe(() => plot.setData(data(series, threshold)));
    const resize = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT }));
    resize.observe(box);
    return () => {
      stop();
      resize.disconnect();
      plot.destroy();
    };
  }, [series, threshold, mark, subscribe, colorScheme]);
  return <div ref={place} />;
});

function lastMinute(): [number, number] {
  const now = Math.floor(Date.now() / 1000);
  return [now - 60, now];
}

function line(plot: uPlot, at: number, colour: string): void {
  const { ctx, bbox } = plot;
  const across = Math.round(plot.valToPos(at, "x", true));
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2 * uPlot.pxRatio;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(across, bbox.top);
  ctx.lineTo(across, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function data(series: Series, threshold: number | null): uPlot.AlignedData {
  const lines = [series.at, series.blue, series.green] as uPlot.AlignedData;
  return threshold === null ? lines : ([...lines, series.at.map(() => threshold)] as uPlot.AlignedData);
}
