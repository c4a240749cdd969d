/** Everything that an entry of the audit says: what was so before and after, then all of it as it is kept. */
import { Code, Stack, Text } from "@mantine/core";
import { Diff } from "../../components/diff";
import { sidesOfEntry } from "./sides";

export function OnRecord({ entry }: { entry: Record<string, unknown> }) {
  const sides = sidesOfEntry(entry);
  return (
    <Stack gap="md">
      {sides && (
        <section aria-label="Before and after">
          <Text fw={600} mb={4}>
            Before and after
          </Text>
          <Diff {...sides} label="Before and after" />
        </section>
      )}
      <Code block className="cut">
        {JSON.stringify(Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null)), null, 2)}
      </Code>
    </Stack>
  );
}
