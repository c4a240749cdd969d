/** What was done, as sentences, newest first; everything that is on record of one of them unfolds. */
import { Accordion, Group, Skeleton, Stack, Text } from "@mantine/core";
import { lazy, Suspense } from "react";
import type { Schemas } from "../../api/client";
import { Empty } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import type { Tone } from "../../theme/tokens";

/** The first page shows the list too, and does not wait for what unfolds. */
const OnRecord = lazy(() => import("./on-record").then(({ OnRecord }) => ({ default: OnRecord })));

type Entry = Schemas["AuditEvent"] & Record<string, unknown>;

const OUTCOMES: Record<string, Tone> = {
  success: "good",
  failed: "bad",
  failure: "bad",
  rolled_back: "bad",
  refused: "bad",
  started: "busy",
  safe_to_deploy: "good",
  issues_detected: "bad",
};

export function sentence(entry: Entry): string {
  const act = String(entry.type).replaceAll("_", " ");
  const versions = entry.to_version ? `${entry.from_version ? `${entry.from_version} → ` : ""}${entry.to_version}` : "";
  return [act.charAt(0).toUpperCase() + act.slice(1), entry.agent_id, versions].filter(Boolean).join(" ");
}

export function AuditList({ events }: { events: Schemas["AuditEvent"][] }) {
  if (!events.length)
    return <Empty title="Nothing was done yet">What people and the engine do is kept here, with its reason.</Empty>;
  return (
    <Accordion variant="default" chevronPosition="left" keepMounted={false}>
      {events.map((each) => {
        const entry = each as Entry;
        const status = String(entry.status ?? "");
        return (
          <Accordion.Item key={entry.event_id} value={entry.event_id}>
            <Accordion.Control>
              <Group justify="space-between" wrap="nowrap" gap="md">
                <div>
                  <Text className="cut">{sentence(entry)}</Text>
                  <Text size="sm" c="dimmed" className="cut">
                    {entry.operator}
                    {entry.reason ? `: ${entry.reason}` : ""}
                  </Text>
                </div>
                <Stack gap={0} align="flex-end">
                  {status && <Status tone={OUTCOMES[status] ?? "quiet"}>{status.replaceAll("_", " ")}</Status>}
                  <Text size="sm" c="dimmed" component="div">
                    <Time at={entry.timestamp} />
                  </Text>
                </Stack>
              </Group>
            </Accordion.Control>
            <Accordion.Panel>
              <Suspense fallback={<Skeleton height={160} />}>
                <OnRecord entry={entry} />
              </Suspense>
            </Accordion.Panel>
          </Accordion.Item>
        );
      })}
    </Accordion>
  );
}
