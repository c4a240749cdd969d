/** A table as the settings have them: heads, rows, and a word when there is none. */
import { Table } from "@mantine/core";
import type { ReactNode } from "react";
import { Cards } from "../../components/cards";
import { Empty } from "../../components/panel";

export function Grid({
  label,
  heads,
  rows,
  none,
}: {
  label: string;
  heads: string[];
  rows: { key: string; cells: ReactNode[] }[];
  none: string;
}) {
  if (!rows.length) return <Empty title={none} />;
  return (
    <Cards label={label} heads={heads} least={720}>
      {rows.map(({ key, cells: [first, ...others] }) => (
        <Table.Tr key={key}>
          <Table.Th scope="row">{first}</Table.Th>
          {others.map((cell, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a cell is its column
            <Table.Td key={at}>{cell}</Table.Td>
          ))}
        </Table.Tr>
      ))}
    </Cards>
  );
}

/** Shown once: what nobody can ask for again. */
export function Once({ label, text }: { label: string; text: string }) {
  return (
    <div role="status">
      <p>{label}: it is shown only now.</p>
      <code className="once cut">{text}</code>
    </div>
  );
}
