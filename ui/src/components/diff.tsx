/** What differs between two sets of values: the keys that changed, on request all of them. The same everywhere on the page; the viewer is brought when it is needed. */
import { Button, Group, Skeleton, Stack, Text } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { asLines, changedKeys, flat, type Values } from "../lib/lines";

const Brought = lazy(() => import("./code/diff-view").then(({ DiffView }) => ({ default: DiffView })));

export function Diff({ before, after, label }: { before: Values; after: Values; label: string }) {
  const [whole, setWhole] = useState(false);
  const changed = changedKeys(before, after);
  const all = new Set([...Object.keys(flat(before)), ...Object.keys(flat(after))]).size;
  if (!changed.length) return <Text c="dimmed">Nothing differs.</Text>;
  const only = whole ? undefined : new Set(changed);
  // Of a long text only the surroundings of its changes are shown, too.
  const hides = [before, after].some((side) => asLines(side).split("\n").length > changed.length);
  return (
    <Stack gap={6}>
      <Group justify="space-between" gap="sm">
        <Text size="sm">{said(changed.length, all)}</Text>
        {hides && (
          <Button size="compact-sm" variant="subtle" aria-pressed={whole} onClick={() => setWhole(!whole)}>
            {whole ? "Only what differs" : "Show everything"}
          </Button>
        )}
      </Group>
      <Suspense fallback={<Skeleton height={24 + 21 * changed.length} />}>
        <Brought before={asLines(before, only)} after={asLines(after, only)} label={label} whole={whole} />
      </Suspense>
    </Stack>
  );
}

function said(changed: number, all: number): string {
  const values = changed === 1 ? "1 value differs" : `${changed} values differ`;
  return changed === all ? `${values}.` : `${values}, ${all - changed} ${all - changed === 1 ? "does" : "do"} not.`;
}
