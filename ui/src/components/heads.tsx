/** The heads of a table, by name. */
import { Table } from "@mantine/core";

export function Heads({ of }: { of: readonly string[] }) {
  return (
    <Table.Thead>
      <Table.Tr>
        {of.map((head) => (
          <Table.Th key={head} scope="col">
            {head}
          </Table.Th>
        ))}
      </Table.Tr>
    </Table.Thead>
  );
}
