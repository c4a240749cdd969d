/** What users noticed of a deployment, counted by the data plane. */
import { Group, Text } from "@mantine/core";
import { memo } from "react";
import type { Schemas } from "../../api/client";
import { Panel } from "../../components/panel";
import { count, duration } from "../../lib/format";

export const Impact = memo(({ impact }: { impact: Schemas["ImpactView"] }) => {
  const lines: [string, string][] = [
    ["Requests", count(impact.requests)],
    ["Answered by the new version", count(impact.candidate_requests)],
    ["Errors, now / new", `${count(impact.stable_errors)} / ${count(impact.candidate_errors)}`],
    ["Conversations it touched", impact.conversations_touched == null ? "–" : count(impact.conversations_touched)],
    ["Not served at all", count(impact.unserved)],
    ["Downtime", duration(impact.downtime_seconds)],
  ];
  return (
    <Panel title="What users noticed">
      {lines.map(([name, value]) => (
        <Group key={name} justify="space-between">
          <Text c="dimmed">{name}</Text>
          <Text fw={600}>{value}</Text>
        </Group>
      ))}
    </Panel>
  );
});
