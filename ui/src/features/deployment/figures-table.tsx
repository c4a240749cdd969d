/** What the charts show, in numbers, newest first. Live ones are read anew every few seconds: nobody reads a table that changes each second. */
import { Table } from "@mantine/core";
import { useEffect, useState } from "react";
import { Heads } from "../../components/heads";
import { clock, milliseconds, percent, perSecond } from "../../lib/format";
import type { Figures } from "./figures";

const ROWS = 30;
const EVERY_MS = 5000;

interface Props {
  figures: Figures;
  live: boolean;
}

export function FiguresTable({ figures, live }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <details className="case" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Show the charts as a table</summary>
      {open && <Rows figures={figures} live={live} />}
    </details>
  );
}

function Rows({ figures, live }: Props) {
  const [, again] = useState(0);
  useEffect(() => {
    if (!live) return;
    const timer = window.setInterval(() => again((count) => count + 1), EVERY_MS);
    return () => window.clearInterval(timer);
  }, [live]);
  const { error_rate: errors, p95_latency_ms: latency, throughput } = figures.series;
  const last = errors.at.length - 1;
  const rows = Array.from(
    { length: Math.min(live ? ROWS : errors.at.length, errors.at.length) },
    (_, back) => last - back,
  );
  return (
    <Table aria-label={live ? "Figures of the last minutes" : "Figures from beginning to end"} miw={560}>
      <Heads
        of={["At", ...["Errors", "Latency", "Requests"].map((head) => `${head}, ${live ? "now" : "old"} / new`)]}
      />
      <Table.Tbody>
        {rows.map((row) => (
          <Table.Tr key={errors.at[row]}>
            <Table.Th scope="row">{clock(errors.at[row] ?? 0)}</Table.Th>
            {throughput.blue[row] == null && throughput.green[row] == null ? (
              <Table.Td colSpan={3}>Nothing was measured here</Table.Td>
            ) : (
              <>
                <Table.Td>
                  {percent(errors.blue[row])} / {percent(errors.green[row])}
                </Table.Td>
                <Table.Td>
                  {milliseconds(latency.blue[row])} / {milliseconds(latency.green[row])}
                </Table.Td>
                <Table.Td>
                  {perSecond(throughput.blue[row])} / {perSecond(throughput.green[row])}
                </Table.Td>
              </>
            )}
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
