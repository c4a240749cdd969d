/** What the charts show, in numbers, newest first. Read anew every few seconds while it is open: nobody reads a table that changes each second. */
import { Table } from "@mantine/core";
import { useEffect, useState } from "react";
import { Heads } from "../../components/heads";
import { clock, milliseconds, percent, perSecond } from "../../lib/format";
import type { Figures } from "./figures";

const ROWS = 30;
const EVERY_MS = 5000;
const HEADS = ["At", "Errors, now / new", "Latency, now / new", "Requests, now / new"];

export function FiguresTable({ figures }: { figures: Figures }) {
  const [open, setOpen] = useState(false);
  return (
    <details className="case" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Show the charts as a table</summary>
      {open && <Rows figures={figures} />}
    </details>
  );
}

function Rows({ figures }: { figures: Figures }) {
  const [, again] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => again((count) => count + 1), EVERY_MS);
    return () => window.clearInterval(timer);
  }, []);
  const { error_rate: errors, p95_latency_ms: latency, throughput } = figures.series;
  const last = errors.at.length - 1;
  const rows = Array.from({ length: Math.min(ROWS, errors.at.length) }, (_, back) => last - back);
  return (
    <Table aria-label="Figures of the last minutes" miw={560}>
      <Heads of={HEADS} />
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
