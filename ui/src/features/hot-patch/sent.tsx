/** A change on its way: what each instance says of it, and the way back. */
import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { api, type Schemas } from "../../api/client";
import { Heads } from "../../components/heads";
import { AnchorLink, ButtonLink } from "../../components/links";
import { Failed, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { milliseconds } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { counted, rowsOf, settled } from "./acknowledged";
import { TakeBack } from "./take-back";

type Change = Schemas["RevisionModel"];

const OFTEN_MS = 400;
const WORDS: Record<string, [Tone, string]> = {
  preparing: ["busy", "Every instance is asked whether it would take it"],
  trying: ["busy", "The first ones have it and are looked at"],
  applying: ["busy", "All get it"],
  applied: ["good", "Applied"],
  reverting: ["warn", "It is being taken back"],
  reverted: ["bad", "Taken back: every instance has what it had"],
  refused: ["bad", "Refused: nothing was applied anywhere"],
  restarting: ["busy", "A rolling restart brings it"],
};

interface Props {
  agent: string;
  /** The newest change there was when this one was asked for. */
  former: string | null;
  /** What the server said to the request itself; null while it says nothing. */
  problem: unknown;
  waiting: boolean;
  onEdit: () => void;
  onAnother: () => void;
}

export function Sent({ agent, former, problem, waiting, onEdit, onAnother }: Props) {
  const config = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/config",
    { params: { path: { agent_id: agent } } },
    { refetchInterval: (query) => (waiting || !over(query.state.data?.change, former) ? OFTEN_MS : false) },
  );
  const found = config.data?.change;
  const change = found && found.config_version !== former ? found : null;
  if (!change)
    return (
      <Panel title="Applying">
        {problem && !waiting ? (
          <Stack gap="sm">
            <Failed error={problem} />
            <Button w="fit-content" onClick={onEdit}>
              Back to the change
            </Button>
          </Stack>
        ) : (
          <span role="status">
            <Status tone="busy">Asked for</Status>
          </span>
        )}
      </Panel>
    );
  return <Seen agent={agent} change={change} onEdit={onEdit} onAnother={onAnother} />;
}

function over(change: Change | null | undefined, former: string | null): boolean {
  return Boolean(change && change.config_version !== former && (settled(change.status) || change.upgrade_id));
}

function Seen({
  agent,
  change,
  onEdit,
  onAnother,
}: Pick<Props, "agent" | "onEdit" | "onAnother"> & { change: Change }) {
  const rows = rowsOf(change);
  const [tone, words] = WORDS[change.status] ?? ["quiet", change.status];
  const done = settled(change.status);
  const [taking, setTaking] = useState(false);
  const lost = change.status === "refused" || change.status === "reverted";
  return (
    <Panel title={`${change.config_version}: ${agent}`}>
      <Stack gap="md">
        <div role="status">
          <Status tone={tone}>{words}</Status>
          {rows.length > 0 && <Text className="tile-big">{counted(rows)}</Text>}
          {done && !lost && (
            <Text size="sm" c="dimmed">
              {change.downtime_seconds === null ? "" : `Downtime ${change.downtime_seconds} s. `}
              {change.upgrade_id ? "" : "No process was restarted."}
            </Text>
          )}
        </div>
        <Text size="sm" c="dimmed" className="cut">
          {change.operator}: {change.reason}
        </Text>
        {change.message && !rows.some((row) => row.why) && (
          <Text className={lost ? "tone-bad cut" : "cut"}>{change.message}</Text>
        )}
        {change.upgrade_id && (
          <AnchorLink
            to="/agents/$agentId/deployments/$upgradeId"
            params={{ agentId: agent, upgradeId: change.upgrade_id }}
          >
            Watch the rolling restart
          </AnchorLink>
        )}
        {rows.length > 0 && (
          <div className="panel-flush">
            <Table aria-label="What each instance says">
              <Heads of={["Instance", "Says", "After"]} />
              <Table.Tbody>
                {rows.map((row) => (
                  <Table.Tr key={row.instance}>
                    <Table.Th scope="row" className="mono">
                      {row.instance}
                    </Table.Th>
                    <Table.Td>
                      <Status tone={row.tone}>{row.words}</Status>
                      {row.why && <Text className="tone-bad cut">{row.why}</Text>}
                    </Table.Td>
                    <Table.Td>{milliseconds(row.after)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        )}
        {rows.length === 0 && done && !lost && !change.upgrade_id && (
          <Text>No instance had to be asked: the router does it, for all of them at once.</Text>
        )}
        <Group>
          {lost && <Button onClick={onEdit}>Back to the change</Button>}
          {!lost && change.status !== "restarting" && (
            <Button variant="default" onClick={() => setTaking(true)}>
              {done ? "Take it back everywhere" : "Take it back now"}
            </Button>
          )}
          {done && !lost && (
            <Button variant="default" onClick={onAnother}>
              Another change
            </Button>
          )}
          <ButtonLink
            to="/agents/$agentId"
            params={{ agentId: agent }}
            search={{ tab: "config" }}
            variant={lost ? "default" : "filled"}
          >
            To the configuration
          </ButtonLink>
        </Group>
        {taking && (
          <TakeBack agent={agent} target={done ? change.parent : undefined} onClose={() => setTaking(false)} />
        )}
      </Stack>
    </Panel>
  );
}
