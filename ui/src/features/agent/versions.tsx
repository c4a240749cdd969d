/** The versions as a line through time: what could come, what runs, what was there. */
import { Badge, Group, List, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, http, problemOf, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { ButtonLink } from "../../components/links";
import { Asked, Empty, Panel } from "../../components/panel";
import { Tested } from "../../components/tested";
import { Time } from "../../components/time";
import { count, percent } from "../../lib/format";

type Version = Schemas["VersionView"];
const AT_ONCE = 50;

export function Versions({ agent, onRollback }: { agent: string; onRollback: () => void }) {
  const versions = api.useQuery("get", "/api/platform/agents/{agent_id}/versions", {
    params: { path: { agent_id: agent } },
  });
  const navigate = useNavigate();
  const [shown, setShown] = useState(AT_ONCE);
  const why = useMay("operator", agent);
  const refresh = async () => {
    const { error } = await http.POST("/api/platform/agents/{agent_id}/versions/refresh", {
      params: { path: { agent_id: agent } },
    });
    if (error) notifications.show({ color: "danger", message: problemOf(error).title });
    await versions.refetch();
  };
  const found = versions.data;
  const points = new Map(found?.rollback_points.map((point) => [point.version, point]));
  return (
    <Panel
      title="Versions"
      aside={
        <Group gap="xs">
          <ButtonLink to="/agents/$agentId/compare" params={{ agentId: agent }} variant="default" size="compact-md">
            Compare two
          </ButtonLink>
          <Action size="compact-md" variant="default" why={why} onAct={() => void refresh()}>
            Look for new ones
          </Action>
        </Group>
      }
    >
      <Asked question={versions} lines={6}>
        {found?.source_problem && (
          <Text className="tone-warn cut">The source could not be read: {found.source_problem}</Text>
        )}
        {found?.versions.length ? (
          <>
            <ol className="timeline" aria-label="Versions, newest first">
              {found.versions.slice(0, shown).map((version) => (
                <Node
                  key={version.version}
                  agent={agent}
                  version={version}
                  current={version.version === found.current_version}
                  point={points.get(version.version)}
                  why={why}
                  onUpgrade={() =>
                    void navigate({
                      to: "/agents/$agentId/upgrade",
                      params: { agentId: agent },
                      search: { version: version.version },
                    })
                  }
                  onRollback={onRollback}
                />
              ))}
            </ol>
            {found.versions.length > shown && (
              <Action variant="default" onAct={() => setShown(shown + AT_ONCE)}>
                {`Older ones, ${count(found.versions.length - shown)} more`}
              </Action>
            )}
          </>
        ) : (
          <Empty title="The source has no version">
            A version is a tag such as v1.2.3, a folder, or a release of the package.
          </Empty>
        )}
      </Asked>
    </Panel>
  );
}

interface NodeProps {
  agent: string;
  version: Version;
  current: boolean;
  point?: Schemas["RollbackPointView"];
  why: string;
  onUpgrade: () => void;
  onRollback: () => void;
}

function Node({ agent, version, current, point, why, onUpgrade, onRollback }: NodeProps) {
  const mark = current ? "current" : version.upgradable ? "available" : "past";
  return (
    <li data-mark={mark}>
      <Group justify="space-between" align="flex-start">
        <Stack gap={4} maw={760}>
          <Group gap="xs">
            <Text fw={650} className="mono">
              {version.version}
            </Text>
            {!current && <Mark>{version.type}</Mark>}
            {current && <Mark tone="busy">current</Mark>}
            {(version.security_patch || version.critical) && (
              <Mark tone="bad">{version.critical ? "critical" : "security"}</Mark>
            )}
            {point?.can_rollback && !current && <Mark>rollback point</Mark>}
          </Group>
          <Text size="sm" c="dimmed" component="div">
            {version.author ? `${version.author}, ` : ""}
            <Time at={version.release_date} />
            {version.deployment_count
              ? `, deployed ${version.deployment_count} ×, ${percent(version.success_rate)} of them went well`
              : ""}
          </Text>
          {version.summary && <Text className="cut">{version.summary}</Text>}
          <Changelog changelog={version.changelog} />
          {version.breaking_changes.map((note) => (
            <Text key={note} className="tone-warn cut">
              Breaking: {note}
            </Text>
          ))}
          {!current && (
            <Text size="sm" c="dimmed">
              {version.compatibility}
            </Text>
          )}
          <Tested agent={agent} results={version.test_results} />
        </Stack>
        {!current && (
          <Group gap="xs">
            {point?.can_rollback && (
              <Action size="compact-md" variant="default" why={why} onAct={onRollback}>
                Roll back to this
              </Action>
            )}
            <Action size="compact-md" why={why || (version.upgradable ? "" : version.compatibility)} onAct={onUpgrade}>
              Upgrade to this
            </Action>
          </Group>
        )}
      </Group>
    </li>
  );
}

function Mark({ tone, children }: { tone?: "busy" | "bad"; children: string }) {
  const colour = tone ? `var(--tone-${tone})` : "var(--mantine-color-text)";
  return (
    <Badge variant="outline" tt="none" c={colour} style={{ borderColor: tone ? colour : "var(--line)" }}>
      {children}
    </Badge>
  );
}

const LONGEST = 8;
/** Beyond this many a list costs more than its marks are worth: one text, that scrolls. */
const LISTED = 200;

export function Changelog({ changelog }: { changelog: Record<string, string[]> }) {
  const lines = Object.entries(changelog).flatMap(([kind, entries]) =>
    entries.map((entry) => `${kind.charAt(0).toUpperCase()}${kind.slice(1)}: ${entry}`),
  );
  const [all, setAll] = useState(false);
  if (!lines.length) return null;
  if (all && lines.length > LISTED) {
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolling takes the focus
      <section className="log" aria-label="The whole changelog" tabIndex={0}>
        <pre className="whole">{lines.join("\n")}</pre>
      </section>
    );
  }
  const shown = all ? lines : lines.slice(0, LONGEST);
  return (
    <>
      <List size="sm" spacing={2}>
        {shown.map((line, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: they stay where they are, and two may be the same
          <List.Item key={place} className="cut">
            {line}
          </List.Item>
        ))}
      </List>
      {lines.length > shown.length && (
        <Action size="compact-sm" variant="subtle" w="fit-content" onAct={() => setAll(true)}>
          {`Show all ${count(lines.length)} lines`}
        </Action>
      )}
    </>
  );
}
