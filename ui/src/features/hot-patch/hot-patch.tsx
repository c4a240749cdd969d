/** A change of the configuration of a running agent: as a form or as text, with what it changes, what the server says to it, and what the instances make of it. */
import { Button, Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useBlocker } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { api, http, type Problem, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import { Command } from "../../components/command";
import { Dialog } from "../../components/dialog";
import { AnchorLink } from "../../components/links";
import { Asked, Failed, Panel } from "../../components/panel";
import { Reason } from "../../components/reason";
import { commandOf } from "./as-command";
import { useCheck } from "./check";
import { bodyOf, type Config, type Draft, useDraft } from "./draft";
import { type FieldGroup, groupsOf, reservedGroup } from "./fields";
import { HowTo } from "./options";
import { Said, whyNot } from "./said";
import { Sent } from "./sent";
import { Meanwhile, Written } from "./written";
import { refusals } from "./wrong";

const route = getRouteApi("/agents/$agentId/hot-patch");

export function HotPatch() {
  const { agentId } = route.useParams();
  useTitle(`Hot patch ${agentId}`);
  const config = api.useQuery("get", "/api/platform/agents/{agent_id}/config", {
    params: { path: { agent_id: agentId } },
  });
  return (
    <Stack gap="lg">
      <div>
        <Text size="sm" c="dimmed">
          <AnchorLink to="/agents/$agentId" params={{ agentId }} search={{ tab: "config" }}>
            {agentId}
          </AnchorLink>
          , configuration
        </Text>
        <Title order={1}>Hot patch {agentId}</Title>
      </div>
      <Asked question={config} lines={8}>
        {config.data && <Change key={agentId} agent={agentId} now={config.data} />}
      </Asked>
    </Stack>
  );
}

function Change({ agent, now }: { agent: string; now: Config }) {
  const draft = useDraft(now);
  const queries = useQueryClient();
  const [sending, setSending] = useState<{ former: string | null; waiting: boolean; problem: unknown } | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  const may = useMay("operator", agent);
  const groups = useMemo(
    () => [...groupsOf(draft.base.schema, draft.base.config), reservedGroup(draft.base.reserved_schema)],
    [draft.base],
  );
  const local = refusals(draft.base.config, draft.doc, groups, draft.base.reload, draft.options);
  const check = useCheck(agent, draft, may, sending === null);
  const apply = async () => {
    const former = now.change?.config_version ?? null;
    setSending({ former, waiting: true, problem: null });
    const { data, error } = await http.PATCH("/api/platform/agents/{agent_id}/config", {
      params: { path: { agent_id: agent } },
      body: { ...bodyOf(draft), reason: draft.reason } as Schemas["ConfigPatchBody"],
    });
    await queries.invalidateQueries();
    // What was refused before it became a revision of its own is mended where it was written.
    const revised = error ? REVISION.has((error as Problem).code ?? "") : data.status !== "unchanged";
    setSending(revised ? { former, waiting: false, problem: error } : null);
    setProblem(error ?? null);
  };
  if (sending)
    return (
      <Sent
        agent={agent}
        {...sending}
        onEdit={() => setSending(null)}
        onAnother={() => {
          draft.startAgain(now);
          setSending(null);
        }}
      />
    );
  return (
    <>
      {now.config_version !== draft.base.config_version && <Meanwhile draft={draft} now={now} />}
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="lg" style={{ alignItems: "start" }}>
        <Written draft={draft} groups={groups} wrong={[...local, ...check.wrong]} may={may} />
        <Stack gap="lg">
          <Said draft={draft} check={check} local={local} />
          <HowItGoes
            agent={agent}
            draft={draft}
            groups={groups}
            problem={problem}
            why={whyNot(may, draft, local, check)}
            onApply={() => void apply()}
            onUndo={() => draft.startAgain(now)}
          />
        </Stack>
      </SimpleGrid>
      <Leaving agent={agent} unapplied={draft.dirty} />
    </>
  );
}

/** Codes of refusals that a revision is on record of. */
const REVISION = new Set(["config_refused", "config_reverted"]);

interface HowProps {
  agent: string;
  draft: Draft;
  groups: FieldGroup[];
  problem: unknown;
  why: string;
  onApply: () => void;
  onUndo: () => void;
}

function HowItGoes({ agent, draft, groups, problem, why, onApply, onUndo }: HowProps) {
  const instances = api.useQuery("get", "/api/platform/agents/{agent_id}/instances", {
    params: { path: { agent_id: agent } },
  });
  const places = [...new Set((instances.data?.instances ?? []).map((each) => each.place))].sort(
    (one, other) => one - other,
  );
  const startOnly =
    draft.base.reload === "restart" || groups.some((group) => group.fields.some((field) => field.scope === "restart"));
  return (
    <Panel title="How it goes about">
      <Stack gap="md">
        <HowTo
          options={draft.options}
          places={places}
          reload={draft.base.reload}
          startOnly={startOnly}
          change={draft.change}
        />
        <Reason value={draft.reason} onChange={draft.setReason} reasons={["Temporary fix", "Tuning", "Incident"]} />
        <Text size="sm" c="dimmed" className="cut">
          As a command: <Command>{commandOf(agent, draft)}</Command>
        </Text>
        {problem !== null && <Failed error={problem} />}
        <Group justify="flex-end">
          {draft.dirty && (
            <Button variant="default" onClick={onUndo}>
              Undo everything
            </Button>
          )}
          <Action why={why} onAct={onApply}>
            Apply hot patch
          </Action>
        </Group>
      </Stack>
    </Panel>
  );
}

/** Whoever goes elsewhere with something unapplied is asked whether they mean it. */
function Leaving({ agent, unapplied }: { agent: string; unapplied: boolean }) {
  const leaving = useBlocker({
    shouldBlockFn: ({ current, next }) => unapplied && current.pathname !== next.pathname,
    enableBeforeUnload: () => unapplied,
    withResolver: true,
  });
  if (leaving.status !== "blocked") return null;
  return (
    <Dialog title="Leave what is not applied yet?" onClose={leaving.reset} size="md">
      <Text>The change of {agent} was not applied. When you leave, it is lost.</Text>
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={leaving.reset} data-autofocus>
          Stay here
        </Button>
        <Button color="danger" onClick={leaving.proceed}>
          Leave and lose it
        </Button>
      </Group>
    </Dialog>
  );
}
