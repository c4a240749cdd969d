/** What two versions say differently about themselves: which configuration they know, and how they are run. */
import { Stack, Text, Title } from "@mantine/core";
import { api, type Schemas } from "../../api/client";
import { Diff } from "../../components/diff";
import { Asked } from "../../components/panel";
import { sidesOf } from "../../lib/lines";

export function VersionDifferences({ agent, from, to }: { agent: string; from: string; to: string }) {
  const changes = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/changes",
    { params: { path: { agent_id: agent }, query: { from, to } } },
    { enabled: from !== to },
  );
  if (from === to) return <Text c="dimmed">They are the same version.</Text>;
  return (
    <Asked question={changes}>
      {changes.data && (
        <Stack gap="md">
          <Part title="Configuration schema" found={changes.data.config_schema} />
          <Part title="Manifest" found={changes.data.manifest} />
        </Stack>
      )}
    </Asked>
  );
}

function Part({ title, found }: { title: string; found: Schemas["DifferenceView"][] }) {
  const sides = sidesOf(Object.fromEntries(found.map((each) => [each.key, each])));
  return (
    <div>
      <Title order={3} mb={4}>
        {title}
      </Title>
      <Diff {...sides} label={`Differences, ${title.toLowerCase()}`} />
    </div>
  );
}
