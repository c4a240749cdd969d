/** A table whose rows are cards where the screen is narrow, each value with the name of its column: nothing is out of reach sideways. The styles are in global.css. */
import { Table } from "@mantine/core";
import type { CSSProperties, ReactNode } from "react";
import { Heads } from "./heads";

interface Props {
  label: string;
  /** At most eight, which is as far as the styles count. */
  heads: readonly string[];
  /** Of the table that it is where there is room, pixels. */
  least: number;
  children: ReactNode;
}

export function Cards({ label, heads, least, children }: Props) {
  const names = Object.fromEntries(heads.map((head, at) => [`--head-${at + 1}`, JSON.stringify(head)]));
  return (
    <Table aria-label={label} className="cards" miw={{ base: 0, sm: least }} style={names as CSSProperties}>
      <Heads of={heads} />
      <Table.Tbody>{children}</Table.Tbody>
    </Table>
  );
}
