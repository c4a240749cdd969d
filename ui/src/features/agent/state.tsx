/** What an agent remembers: where and in which schema, whether one can come back with it, the copies there are, and what rollbacks set aside. */
import { Code, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { AnchorLink } from "../../components/links";
import { Asked, Failed, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { bytes, count, duration } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { Asking, type StateAct } from "./state-acts";

type StateView = Schemas["StateView"];
type Snapshot = Schemas["SnapshotView"];
type Aside = Schemas["SetAsideView"];

const TAKING_MS = 2000;
const ASKED_FOR_MAX = 10;

export function State({ agent }: { agent: string }) {
  const [taking, setTaking] = useState<string | null>(null);
  const [acting, setActing] = useState<StateAct | null>(null);
  const polling = usePolling();
  const state = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/state",
    { params: { path: { agent_id: agent } } },
    { refetchInterval: taking ? TAKING_MS : polling },
  );
  const found = state.data;
  const underWay = taking !== null && !found?.snapshots.some((each) => each.snapshot === taking);
  return (
    <Asked question={state} lines={6}>
      {found && (
        <Stack gap="lg">
          {found.directory === null && !found.snapshots.length ? <NoState agent={agent} /> : <Kept state={found} />}
          <Snapshots state={found} underWay={underWay ? taking : null} onAct={setActing} again={state.refetch} />
          <Asides state={found} onAct={setActing} />
          {acting && (
            <Asking
              act={acting}
              state={found}
              onTaken={setTaking}
              onClose={() => {
                setActing(null);
                void state.refetch();
              }}
            />
          )}
        </Stack>
      )}
    </Asked>
  );
}

const MANIFEST = `[state]
directory = "state"   # kept outside of releases; in SERVICING_STATE_DIR
writes = 1            # the schema that this version writes
reads = [1]           # those that it can read`;

function NoState({ agent }: { agent: string }) {
  return (
    <Panel title="What it keeps">
      <Stack gap="sm">
        <Text fw={600}>{agent} keeps no state that this server knows of.</Text>
        <Text>
          A version whose manifest has a <Code>[state]</Code> part keeps what it remembers in a folder of its own: each
          upgrade then begins with a copy of it, and a rollback says beforehand what the older version can read.
        </Text>
        <Code block aria-label="Part of a manifest">
          {MANIFEST}
        </Code>
        <Text c="dimmed">The guides “State that survives” and “The manifest” have the rest.</Text>
      </Stack>
    </Panel>
  );
}

const DOORS: Record<StateView["ways_back"][number]["door"], [Tone, string]> = {
  two_way: ["good", "Both ways"],
  two_way_by_migration: ["warn", "Back by converting"],
  one_way: ["bad", "One way"],
  unknown: ["quiet", "Not known"],
};

function Kept({ state }: { state: StateView }) {
  const facts: [string, string][] = [
    ["Folder", state.directory ?? "none any more"],
    ["Schema that it writes", state.schema == null ? "not said" : String(state.schema)],
    ["Snapshots put back so far", count(state.epoch)],
  ];
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      <Panel title="What it keeps">
        <Stack gap={6}>
          {facts.map(([name, value]) => (
            <Group key={name} justify="space-between" wrap="nowrap">
              <Text c="dimmed">{name}</Text>
              <Text fw={600} className="mono cut" ta="right">
                {value}
              </Text>
            </Group>
          ))}
          {state.stores.map((store) => (
            <Text key={`${store.kind} ${store.path}`} className="cut">
              <span className="mono">{store.path}</span>: {KINDS[store.kind]}
              {store.records.length ? `, counted are ${store.records.join(", ")}` : ""}
            </Text>
          ))}
          {!state.stores.length && state.directory && <Text c="dimmed">Every file in the folder counts.</Text>}
        </Stack>
      </Panel>
      <Panel title="The way back">
        {state.ways_back.length ? (
          <ul className="steps" aria-label="Rollback points and their state">
            {state.ways_back.map((way) => (
              <li key={way.version} className="case">
                <Group justify="space-between" gap="xs">
                  <Text fw={600} className="mono">
                    {way.version}
                  </Text>
                  <Status tone={DOORS[way.door][0]}>{DOORS[way.door][1]}</Status>
                </Group>
                <Text size="sm" c="dimmed" className="cut">
                  {way.sentence}
                </Text>
              </li>
            ))}
          </ul>
        ) : (
          <Text c="dimmed">There is no rollback point yet: the first upgrade makes one.</Text>
        )}
      </Panel>
    </SimpleGrid>
  );
}

const KINDS: Record<StateView["stores"][number]["kind"], string> = {
  directory: "a folder",
  sqlite: "a SQLite database",
  http: "what the agent exports itself",
};

function Snapshots({
  state,
  underWay,
  onAct,
  again,
}: {
  state: StateView;
  underWay: string | null;
  onAct: (act: StateAct) => void;
  again: () => unknown;
}) {
  const may = useMay("operator", state.agent_id);
  const asked = state.snapshots.filter((each) => each.pinned).length;
  const whyNot =
    may ||
    (state.directory === null ? "The version that serves keeps no state." : "") ||
    (asked >= ASKED_FOR_MAX ? `${asked} that were asked for are kept already: remove one first.` : "") ||
    (underWay ? "One is being taken." : "");
  return (
    <Panel
      title="Snapshots"
      aside={
        <Action size="compact-md" why={whyNot} onAct={() => onAct({ verb: "take" })}>
          Take one now
        </Action>
      }
    >
      <div role="status">
        {underWay && (
          <Text mb="sm" className="cut">
            <span className="mono">{underWay}</span> is being taken while the agent serves; it is listed once it was
            read back. If it never is, the server's log says why.
          </Text>
        )}
      </div>
      {state.snapshots.length ? (
        <ul className="steps" aria-label="Snapshots, newest first">
          {state.snapshots.map((each) => (
            <Copy key={each.snapshot} copy={each} state={state} may={may} onAct={onAct} again={again} />
          ))}
        </ul>
      ) : (
        <Text c="dimmed">
          There is none. Each upgrade of a version that keeps state takes one first; the newest five stay.
        </Text>
      )}
    </Panel>
  );
}

interface CopyProps {
  copy: Snapshot;
  state: StateView;
  may: string;
  onAct: (act: StateAct) => void;
  again: () => unknown;
}

function Copy({ copy, state, may, onAct, again }: CopyProps) {
  const [trying, setTrying] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const rehearse = async () => {
    setTrying(true);
    const { error } = await http.POST("/api/platform/agents/{agent_id}/state/snapshots/{snapshot}/rehearse", {
      params: { path: { agent_id: state.agent_id, snapshot: copy.snapshot } },
    });
    setTrying(false);
    setProblem(error ?? null);
    again();
  };
  const exported = state.stores.some((store) => store.kind === "http");
  const looks = { size: "compact-md", variant: "default" } as const;
  return (
    <li className="case">
      <Group justify="space-between" gap="xs">
        <Text fw={600} className="mono cut">
          {copy.snapshot}
        </Text>
        <Verified rehearsal={copy.rehearsal} />
      </Group>
      <Text size="sm" c="dimmed" component="div" className="cut">
        Of {copy.version}
        {copy.schema == null ? "" : `, schema ${copy.schema}`}, taken <Time at={copy.taken_at} /> in{" "}
        {duration(copy.seconds)}: {bytes(copy.size_bytes)} in {count(copy.files)} {copy.files === 1 ? "file" : "files"},
        keeping it takes {bytes(copy.stored_bytes)}.{" "}
        {copy.pinned ? "Stays until somebody removes it." : "Goes when five newer ones are there."}
      </Text>
      {copy.notes.map((note) => (
        <Text key={note} size="sm" className="tone-warn cut">
          {note}
        </Text>
      ))}
      <Group gap="xs" mt={6} role="group" aria-label={`Acts on ${copy.snapshot}`}>
        <Action {...looks} why={may} loading={trying} onAct={() => void rehearse()}>
          Try it
        </Action>
        <Action {...looks} why={may} onAct={() => onAct({ verb: "unpack", copy })}>
          Unpack
        </Action>
        <Action
          {...looks}
          why={may || (exported ? "" : "Its manifest names no store of kind http, so the agent exported nothing.")}
          onAct={() => onAct({ verb: "bring", copy })}
        >
          Offer the export
        </Action>
        <Action
          {...looks}
          why={may || (state.directory === null ? "The version that serves keeps no state." : "")}
          onAct={() => onAct({ verb: "restore", copy })}
        >
          Put it back
        </Action>
        <Action {...looks} why={may} onAct={() => onAct({ verb: "remove", copy })}>
          Remove
        </Action>
      </Group>
      {problem !== null && <Failed error={problem} />}
    </li>
  );
}

function Verified({ rehearsal }: { rehearsal: Snapshot["rehearsal"] }) {
  if (!rehearsal) return <Status tone="quiet">Not tried yet</Status>;
  return (
    <div>
      <Status tone={rehearsal.passed ? "good" : "bad"}>
        {rehearsal.passed ? "Can be restored" : "Cannot be used"}
      </Status>
      <Text size="sm" c="dimmed" component="div" className="cut">
        {rehearsal.detail}, <Time at={rehearsal.at} />
      </Text>
    </div>
  );
}

function Asides({ state, onAct }: { state: StateView; onAct: (act: StateAct) => void }) {
  const may = useMay("operator", state.agent_id);
  if (!state.set_aside.length)
    return (
      <Panel title="Set aside">
        <Text c="dimmed">Nothing: no rollback has put a snapshot back and left newer records behind.</Text>
      </Panel>
    );
  return (
    <Panel title="Set aside">
      <ul className="steps" aria-label="What rollbacks set aside, newest first">
        {state.set_aside.map((each) => (
          <Left key={each.epoch} agent={state.agent_id} left={each} may={may} onAct={onAct} />
        ))}
      </ul>
    </Panel>
  );
}

function Left({
  agent,
  left,
  may,
  onAct,
}: {
  agent: string;
  left: Aside;
  may: string;
  onAct: (act: StateAct) => void;
}) {
  const looks = { size: "compact-md", variant: "default" } as const;
  const name = `${agent}-set-aside-${left.epoch}.ndjson`;
  return (
    <li className="case">
      <Group justify="space-between" gap="xs">
        <Text fw={600}>
          Number {left.epoch}, written by <span className="mono">{left.version}</span>
        </Text>
        <Status tone={left.set_aside ? "warn" : "good"}>
          {left.set_aside ? `${count(left.set_aside)} kept here only` : "All taken in"}
        </Status>
      </Group>
      <Text size="sm" c="dimmed" component="div" className="cut">
        {left.detail}. By{" "}
        <AnchorLink
          to="/agents/$agentId/deployments/$upgradeId"
          params={{ agentId: agent, upgradeId: left.deployment }}
        >
          a rollback
        </AnchorLink>{" "}
        <Time at={left.at} />; put back was <span className="mono">{left.snapshot}</span>.
      </Text>
      {!left.complete && (
        <Text size="sm" className="tone-warn">
          Instances were still ending when this was counted; the folder may hold more.
        </Text>
      )}
      {left.written.places.map((place) => (
        <Text key={place.place} size="sm" className="mono cut">
          {place.place}: {count(place.added)} added, {count(place.changed)} changed, {count(place.removed)} removed
        </Text>
      ))}
      <Group gap="xs" mt={6} role="group" aria-label={`Acts on number ${left.epoch}`}>
        <Action
          {...looks}
          why={may}
          onAct={() =>
            save(`/api/platform/agents/${encodeURIComponent(agent)}/state/set-aside/${left.epoch}/records`, name)
          }
        >
          Download
        </Action>
        <Action
          {...looks}
          why={may || (left.set_aside ? "" : "Everything was taken in already.")}
          onAct={() => onAct({ verb: "offer", left })}
        >
          Offer it again
        </Action>
        <Action {...looks} why={may} onAct={() => onAct({ verb: "discard", left })}>
          Discard
        </Action>
      </Group>
    </li>
  );
}

/** The browser fetches it itself, however long it is. */
function save(address: string, name: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}
