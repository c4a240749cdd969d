/** The limits that upgrades take whose request names none: for all agents, and for those that differ. */
import { Autocomplete, Checkbox, Group, NumberInput, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api, http } from "../../api/client";
import { OFFERED, useNames } from "../../app/names";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Asked, Panel } from "../../components/panel";
import { Reason } from "../../components/reason";
import { LIMITS, limitWords, ownWords, type Said } from "../../lib/thresholds";
import { Grid } from "./grid";

/** Whose are being changed: null is everybody's; an empty name is still to be chosen. */
interface Changing {
  agent: string | null;
  said: Said;
  /** What holds for a limit that is left open. */
  below: Said;
  taken?: boolean;
}

const HEADS = LIMITS.map((limit) => limit.label);

export function Thresholds() {
  const found = api.useQuery("get", "/api/platform/settings/thresholds", {});
  const why = useMay("admin");
  const [changing, setChanging] = useState<Changing | null>(null);
  const { all = {}, built_in = {}, agents = {} } = found.data ?? {};
  const general = { ...built_in, ...all };
  const act = (label: string, aria: string, next: Changing) => (
    <Action size="compact-md" variant="default" why={why} aria-label={aria} onAct={() => setChanging(next)}>
      {label}
    </Action>
  );
  return (
    <Stack gap="lg">
      <Panel
        title="For all agents"
        flush
        aside={act("Change", "Change those for all agents", { agent: null, said: all, below: built_in })}
      >
        <Text c="dimmed" px="md" py="sm">
          What an upgrade takes where its request says nothing; a change here concerns only upgrades that are asked for
          later.
        </Text>
        <Asked question={found}>
          <Grid
            label="For all agents"
            heads={["Limit", "In force", "Comes from"]}
            none=""
            rows={LIMITS.map(({ name, label }) => ({
              key: name,
              cells: [label, limitWords(name, general[name]), name in all ? "Set here" : "Built in"],
            }))}
          />
        </Asked>
      </Panel>
      <Panel
        title="Agents that differ"
        flush
        aside={act("Add an agent", "Add an agent", { agent: "", said: {}, below: general })}
      >
        <Asked question={found}>
          <Grid
            label="Agents that differ"
            heads={["Agent", ...HEADS, "Actions"]}
            none="Every agent has those for all"
            rows={Object.entries(agents).map(([agent, own]) => ({
              key: agent,
              cells: [
                agent,
                ...LIMITS.map((limit) => ownWords(limit, own)),
                <Group key="acts" gap="xs" wrap="nowrap">
                  {act("Change", `Change those of ${agent}`, { agent, said: own, below: general })}
                  {act("Remove", `Remove those of ${agent}`, { agent, said: {}, below: general, taken: true })}
                </Group>,
              ],
            }))}
          />
        </Asked>
      </Panel>
      {changing && (
        <Change
          from={changing}
          differing={Object.keys(agents)}
          onClose={() => {
            setChanging(null);
            void found.refetch();
          }}
        />
      )}
    </Stack>
  );
}

function Change({ from, differing, onClose }: { from: Changing; differing: string[]; onClose: () => void }) {
  const names = useNames();
  const [agent, setAgent] = useState(from.agent);
  const [said, setSaid] = useState<Said>(from.said);
  const [reason, setReason] = useState("");
  const twice = from.agent === "" && differing.includes(agent ?? "");
  const keep = async () => {
    const body = { thresholds: said, reason };
    const { error } =
      agent === null
        ? await http.PUT("/api/platform/settings/thresholds", { body })
        : await http.PUT("/api/platform/agents/{agent_id}/thresholds", { params: { path: { agent_id: agent } }, body });
    return { error };
  };
  const say = (name: string, value: number | null | undefined) =>
    setSaid(({ [name]: _, ...others }) => (value === undefined ? others : { ...others, [name]: value }));
  const whose = from.agent === null ? "all agents" : from.agent;
  return (
    <Dialog title={whose ? `Thresholds of ${whose}` : "Thresholds of an agent"} onClose={onClose} size="md">
      <Stack gap="md">
        {from.agent === "" && (
          <Autocomplete
            label="Agent"
            data={names.filter((name) => !differing.includes(name))}
            error={twice && "It has its own already: change those."}
            limit={OFFERED}
            value={agent ?? ""}
            onChange={setAgent}
          />
        )}
        {from.taken ? (
          <Text>Its upgrades then take those for all agents.</Text>
        ) : (
          LIMITS.map(({ name, label, unit, ...more }) => (
            <Group key={name} align="flex-end" gap="md">
              <NumberInput
                label={label}
                suffix={unit}
                w={260}
                min={0}
                max={"most" in more ? more.most : undefined}
                disabled={"off" in more && said[name] === null}
                placeholder={`${limitWords(name, from.below[name])}, as ${from.agent === null ? "built in" : "for all"}`}
                value={said[name] ?? ""}
                onChange={(value) => say(name, value === "" ? undefined : Number(value))}
              />
              {"off" in more && (
                <Checkbox
                  mb={8}
                  label="No limit"
                  aria-label={`No limit: ${label}`}
                  checked={said[name] === null}
                  onChange={(event) => say(name, event.currentTarget.checked ? null : undefined)}
                />
              )}
            </Group>
          ))
        )}
        <Reason value={reason} onChange={setReason} reasons={["Policy", "Agreed with its users"]} focused={false} />
        <Ends
          act={from.taken ? "Remove them" : "Change them"}
          missing={!reason.trim() || agent === "" || twice}
          onAct={keep}
          onClose={onClose}
        />
      </Stack>
    </Dialog>
  );
}
