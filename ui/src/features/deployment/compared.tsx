/** Both sides beside one another: three figures, how they differ in words, and a chart of each: the last minutes, or all of what has ended. */
import { Group, Text } from "@mantine/core";
import { memo } from "react";
import type { Schemas } from "../../api/client";
import { useLinkState } from "../../app/live";
import { Chart } from "../../components/chart";
import { Status } from "../../components/status";
import { difference, milliseconds, percent, perSecond } from "../../lib/format";
import type { Figures, Measure, Side } from "./figures";
import { FiguresTable } from "./figures-table";

interface Props {
  blue: Side;
  green: Side;
  /** Null where there are none to draw. */
  figures: Figures | null;
  policy: Schemas["PolicyView"];
  live: boolean;
  mark?: Mark | null;
}

/** When what has ended was decided. */
export interface Mark {
  seconds: number;
  words: string;
}

export function Compared({ blue, green, figures, policy, live, mark = null }: Props) {
  const link = useLinkState();
  const away = live && (link === "reconnecting" || link === "offline");
  const tiles: {
    measure: Measure;
    title: string;
    show: (value: number | null | undefined) => string;
    limit: number | null;
  }[] = [
    {
      measure: "error_rate",
      title: "Errors",
      show: percent,
      limit: policy.enabled ? policy.error_rate_threshold : null,
    },
    {
      measure: "p95_latency_ms",
      title: "Latency, 95 % are faster",
      show: milliseconds,
      limit: policy.enabled ? (policy.latency_threshold_ms ?? null) : null,
    },
    { measure: "throughput", title: "Requests", show: perSecond, limit: null },
  ];
  return (
    <div>
      <div className="tiles" data-away={away || undefined}>
        {tiles.map(({ measure, title, show, limit }) => (
          <section className="tile" key={measure} aria-label={title}>
            <Text size="sm" c="dimmed">
              {title}
            </Text>
            <Group gap="xl" my={4}>
              <Value side="blue" name={live ? "Now" : "Old"} value={show(blue[measure])} />
              <Value side="green" name="New" value={show(green[measure])} />
            </Group>
            <Comparison
              blue={blue[measure]}
              green={green[measure]}
              limit={limit}
              show={show}
              load={measure === "throughput"}
              live={live}
            />
            {figures && (
              <Chart
                series={figures.series[measure]}
                threshold={limit}
                mark={mark?.seconds}
                subscribe={figures.subscribe}
                label={
                  live
                    ? `${title} of the last minutes: now ${show(blue[measure])}, new ${show(green[measure])}`
                    : `${title} from beginning to end: old ${show(blue[measure])}, new ${show(green[measure])} when it was ${mark?.words}`
                }
              />
            )}
          </section>
        ))}
      </div>
      {away && (
        <Text size="sm" className="tone-warn" role="status">
          No live figures while the connection is away; the charts go on with a gap.
        </Text>
      )}
      {figures && <FiguresTable figures={figures} live={live} />}
    </div>
  );
}

/** The line beside the name is the one in the chart. */
const Value = memo(({ side, name, value }: { side: "blue" | "green"; name: string; value: string }) => (
  <div>
    <Text size="xs" c="dimmed">
      <span className={`side side-${side}`} />
      {name}
    </Text>
    <div className="tile-big">{value}</div>
  </div>
));

function Comparison({
  blue,
  green,
  limit,
  show,
  load,
  live,
}: {
  blue?: number | null;
  green?: number | null;
  limit: number | null;
  show: (value: number) => string;
  load: boolean;
  live: boolean;
}) {
  if (green == null) return <Status tone="quiet">{live ? "No traffic there yet" : "Gets no traffic"}</Status>;
  const words = difference(blue, green);
  if (load || limit === null) return <Text size="sm">{words || " "}</Text>;
  const beyond = green > limit;
  const where = `${beyond ? "beyond" : "within"} the limit of ${show(limit)}`;
  return <Status tone={beyond ? "bad" : "good"}>{[words, where].filter(Boolean).join(", ")}</Status>;
}
