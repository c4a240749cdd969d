/** Upgrading several agents: what each would get, asked for in one go, then how far each is. One deployment each, which goes on by itself. */
import { Button, Checkbox, Group, NumberInput, Radio, Select, Switch, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { http } from "../../api/client";
import { mayWith, useSession } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Heads } from "../../components/heads";
import { AnchorLink } from "../../components/links";
import { Asked, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import type { Tone } from "../../theme/tokens";
import { begin, forget, stop, useRun } from "./driver";
import { type Planned, planned, type Which } from "./plan";
import { type Item, type ItemState, isOverRun, type Run, tally } from "./run";

export const CHOSEN_MAX = 50;
const ASKED_AT_ONCE = 5;

/** What is chosen, and how far the last such upgrade is. */
type Chosen = ReadonlySet<string>;

/** Before the name of an agent in the table of all. */
export function Choose({
  agent,
  chosen,
  setChosen,
}: {
  agent: string;
  chosen: Chosen;
  setChosen: (change: (before: Chosen) => Chosen) => void;
}) {
  return (
    <Checkbox
      className="beside"
      mr="sm"
      mt={1}
      aria-label={`Choose ${agent}`}
      checked={chosen.has(agent)}
      onChange={(event) => {
        const add = event.currentTarget.checked;
        setChosen((before) => new Set(add ? [...before, agent] : [...before].filter((each) => each !== agent)));
      }}
    />
  );
}

interface Props {
  chosen: Chosen;
  onChosen: (chosen: Chosen) => void;
  /** Those in sight that have an update. */
  outdated: string[];
}

export function Bulk({ chosen, onChosen, outdated }: Props) {
  const run = useRun();
  const [asking, setAsking] = useState(false);
  const going = run !== null && !isOverRun(run);
  const why =
    (going ? "An upgrade of several is under way." : "") ||
    (chosen.size > CHOSEN_MAX ? `At most ${CHOSEN_MAX} in one go.` : "");
  return (
    <>
      <Group gap="sm" role="group" aria-label="Several agents">
        <Text role="status">{chosen.size ? `${chosen.size} chosen` : "Choose several to upgrade them in one go."}</Text>
        {outdated.some((agent) => !chosen.has(agent)) && (
          <Button
            size="compact-md"
            variant="default"
            onClick={() => onChosen(new Set([...chosen, ...outdated]))}
          >{`Choose the ${outdated.length} with an update`}</Button>
        )}
        {chosen.size > 0 && (
          <>
            <Action size="compact-md" why={why} onAct={() => setAsking(true)}>
              Upgrade them
            </Action>
            <Button size="compact-md" variant="default" onClick={() => onChosen(new Set())}>
              Choose none
            </Button>
          </>
        )}
      </Group>
      {run && <Progress run={run} going={going} />}
      {asking && (
        <Ask
          agents={[...chosen].sort()}
          onClose={(begun) => {
            setAsking(false);
            if (begun) onChosen(new Set());
          }}
        />
      )}
    </>
  );
}

function Ask({ agents, onClose }: { agents: string[]; onClose: (begun: boolean) => void }) {
  const { me } = useSession();
  const [which, setWhich] = useState<Which>("recommended");
  const [strategy, setStrategy] = useState<Run["strategy"]>("blue-green");
  const [atOnce, setAtOnce] = useState<number | "">(1);
  const [stopping, setStopping] = useState(true);
  const [begun, setBegun] = useState(false);
  const versions = useQuery({ queryKey: ["upgrade of several", agents], queryFn: () => versionsOf(agents), retry: 1 });
  const plans = (versions.data ?? []).map(([agent, found]) =>
    planned(agent, found, which, mayWith(me, "operator", agent)),
  );
  const among = plans.filter((each) => !each.why);
  const name = `${among.length} ${among.length === 1 ? "agent" : "agents"}`;
  const start = async (reason: string) => {
    if (!among.length) return { error: { detail: "None of them can be upgraded like this." } };
    begin({
      items: among.map(({ agent, from, to }) => ({ agent, from, to: to ?? "", state: "waiting" })),
      atOnce: atOnce || 1,
      stopOnFailure: stopping,
      strategy,
      reason,
    });
    setBegun(true);
    return {};
  };
  return (
    <Confirm
      title="Upgrade several agents"
      words="Each gets a deployment of its own, with the usual watch and way back. This tab begins them one after the other: when it is closed, nothing more begins, and what runs goes on."
      act={`Upgrade ${name}`}
      typed={name}
      reasons={["Security fix", "Planned", "Bug fix"]}
      onAct={start}
      onClose={() => onClose(begun)}
    >
      <Radio.Group label="To" value={which} onChange={(value) => setWhich(value as Which)}>
        <Group mt={4}>
          <Radio value="recommended" label="What is recommended to each" />
          <Radio value="newest" label="The newest of each" />
        </Group>
      </Radio.Group>
      <Asked question={versions} lines={agents.length}>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard */}
        {/* biome-ignore lint/a11y/useSemanticElements: nothing here is filled in, so it is no fieldset */}
        <div className="log" tabIndex={0} role="group" aria-label="What each gets">
          <Table aria-label="What each gets" miw={420}>
            <Heads of={["Agent", "Now", "Then"]} />
            <Table.Tbody>
              {plans.map((each) => (
                <Plan key={each.agent} plan={each} />
              ))}
            </Table.Tbody>
          </Table>
        </div>
      </Asked>
      <Group align="flex-start">
        <Select
          label="Strategy"
          w={160}
          allowDeselect={false}
          data={["blue-green", "canary", "rolling"]}
          value={strategy}
          onChange={(value) => setStrategy((value ?? "blue-green") as Run["strategy"])}
        />
        <NumberInput
          label="At once"
          w={110}
          min={1}
          max={10}
          allowDecimal={false}
          value={atOnce}
          onChange={(value) => setAtOnce(value === "" ? "" : Number(value))}
        />
      </Group>
      <Switch
        label="Begin nothing more after the first that fails"
        checked={stopping}
        onChange={(event) => setStopping(event.currentTarget.checked)}
      />
    </Confirm>
  );
}

async function versionsOf(agents: string[]) {
  const found = [];
  for (let at = 0; at < agents.length; at += ASKED_AT_ONCE) {
    const asked = agents.slice(at, at + ASKED_AT_ONCE).map(async (agent) => {
      const { data, error } = await http.GET("/api/platform/agents/{agent_id}/versions", {
        params: { path: { agent_id: agent } },
      });
      if (!data) throw error;
      return [agent, data] as const;
    });
    found.push(...(await Promise.all(asked)));
  }
  return found;
}

function Plan({ plan }: { plan: Planned }) {
  return (
    <Table.Tr>
      <Table.Th scope="row">{plan.agent}</Table.Th>
      <Table.Td className="mono">{plan.from ?? "–"}</Table.Td>
      <Table.Td>
        <span className="mono">{plan.why ? "stays" : plan.to}</span>
        {plan.why && (
          <Text size="sm" className="tone-warn cut">
            {plan.to ? `${plan.to}: ` : ""}
            {plan.why}
          </Text>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

const STATES: Record<ItemState, [Tone, string]> = {
  waiting: ["quiet", "To come"],
  asking: ["busy", "Beginning"],
  running: ["busy", "Under way"],
  done: ["good", "Done"],
  failed: ["bad", "Failed"],
  left_out: ["quiet", "Left out"],
};

function Progress({ run, going }: { run: Run; going: boolean }) {
  const left = run.items.some((item) => item.state === "waiting");
  return (
    <Panel
      title="Upgrade of several"
      aside={
        going ? (
          <Action
            size="compact-md"
            variant="default"
            why={left ? "" : "All of them have begun; each is steered on its own page."}
            onAct={stop}
          >
            Begin no more
          </Action>
        ) : (
          <Button size="compact-md" variant="default" onClick={forget}>
            Put away
          </Button>
        )
      }
    >
      <Text role="status" mb="sm">
        {tally(run)}
      </Text>
      <ul className="steps" aria-label="Each upgrade">
        {run.items.map((item) => (
          <One key={item.agent} item={item} />
        ))}
      </ul>
    </Panel>
  );
}

function One({ item }: { item: Item }) {
  const [tone, word] = STATES[item.state];
  const versions = `${item.from ?? ""} → ${item.to}`;
  return (
    <li className="case">
      <Group justify="space-between" gap="xs">
        <Text>
          {item.agent}{" "}
          {item.upgrade ? (
            <AnchorLink
              to="/agents/$agentId/deployments/$upgradeId"
              params={{ agentId: item.agent, upgradeId: item.upgrade }}
              className="mono"
            >
              {versions}
            </AnchorLink>
          ) : (
            <span className="mono">{versions}</span>
          )}
        </Text>
        <Status tone={tone}>{word}</Status>
      </Group>
      {item.words && (
        <Text size="sm" className="tone-bad cut">
          {item.words}
        </Text>
      )}
    </li>
  );
}
