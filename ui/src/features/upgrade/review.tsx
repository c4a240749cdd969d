/** First step: which version, what is in it, what breaks, and which configuration it expects. */
import { Checkbox, Select, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Tested } from "../../components/tested";
import { Time } from "../../components/time";
import { Changelog } from "../agent/versions";
import type { StepProps } from "./wizard";

const route = getRouteApi("/agents/$agentId/upgrade");

export function Review({ agent, version, draft, change, list }: StepProps & { list: Schemas["VersionList"] }) {
  const navigate = route.useNavigate();
  const choices = list.versions.filter((each) => each.version !== list.current_version).slice(0, 200);
  const major = version.type === "major";
  const breaking = version.breaking_changes.length > 0 || major;
  return (
    <Panel title={`What ${version.version} brings`}>
      <Stack gap="md">
        <Select
          label="Version"
          maw={420}
          allowDeselect={false}
          value={version.version}
          data={choices.map((each) => ({
            value: each.version,
            label: `${each.version} (${each.type})${each.version === list.recommended?.version ? ", recommended" : ""}${each.upgradable ? "" : ", not possible"}`,
          }))}
          onChange={(chosen) => chosen && void navigate({ search: { version: chosen, step: "review" } })}
        />
        {!version.upgradable && <Text className="tone-bad cut">Cannot be chosen: {version.compatibility}</Text>}
        {version.version === list.recommended?.version && list.recommended.reason && (
          <Text className="cut">Recommended: {list.recommended.reason}</Text>
        )}
        {(version.security_patch || version.critical) && (
          <Status tone="warn">{version.critical ? "Critical update" : "Security update"}</Status>
        )}
        <Text size="sm" c="dimmed" component="div">
          {version.author ? `${version.author}, ` : ""}
          {version.release_date ? <Time at={version.release_date} /> : "no date"}
        </Text>
        {version.summary && <Text className="cut">{version.summary}</Text>}
        {Object.keys(version.changelog).length ? (
          <Changelog changelog={version.changelog} />
        ) : (
          <Text c="dimmed">It has no changelog.</Text>
        )}
        {version.migration_notes && <Text className="cut">Migration: {version.migration_notes}</Text>}
        {version.state_note && <Text className="cut">State: {version.state_note}</Text>}
        {version.config_problems.map((problem) => (
          <Text key={problem} className="tone-bad cut">
            Configuration: {problem}
          </Text>
        ))}
        <Tested agent={agent} results={version.test_results} />
        {breaking ? (
          <>
            <Text fw={600}>Breaking changes</Text>
            <ul>
              {version.breaking_changes.map((note) => (
                <li key={note} className="cut">
                  {note}
                </li>
              ))}
              {version.breaking_changes.length === 0 && <li>It is a major version; its changelog names none.</li>}
            </ul>
            <Checkbox
              checked={draft.read}
              onChange={(event) => change({ read: event.currentTarget.checked })}
              label="I have read what breaks"
            />
          </>
        ) : (
          <Text>Breaking changes: none.</Text>
        )}
      </Stack>
    </Panel>
  );
}
