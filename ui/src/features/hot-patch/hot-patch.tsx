/** A change of the configuration of a running agent: as a form or as text, with what it changes, what the server says to it, and what the instances make of it. */
import { Button, Group, SegmentedControl, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useBlocker } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { api, http, type Problem, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Action } from "../../components/action";
import type { Wrong } from "../../components/code/editor";
import { Command } from "../../components/command";
import { Dialog } from "../../components/dialog";
import { Diff } from "../../components/diff";
import { AnchorLink } from "../../components/links";
import { Asked, Failed, Panel } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Status } from "../../components/status";
import { type Changes, foreseen, type Values } from "../../lib/lines";
import { quoted } from "../../lib/words";
import { suggester } from "./complete";
import { conflicts, patched, patchOf, type Secret, shownWith, updatesOf } from "./document";
import { type FieldGroup, groupsOf, reservedGroup } from "./fields";
import { Form } from "./form";
import { asked, FRESH, HowTo, type Options, Warnings, words } from "./options";
import { Sent } from "./sent";
import { refusals } from "./wrong";

const Editor = lazy(() => import("../../components/code/editor").then(({ Editor }) => ({ default: Editor })));

const route = getRouteApi("/agents/$agentId/hot-patch");

type Config = Schemas["ConfigModel"];

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

/** The document, and everything that is asked for with it. It stays on the revision that it was begun on until one says to go on from another. */
function useDraft(now: Config) {
  const [base, setBase] = useState(now);
  const [doc, setDoc] = useState<Values>(now.config);
  const [secrets, setSecrets] = useState<Record<string, Secret>>({});
  const [unreadable, setUnreadable] = useState<Record<string, string>>({});
  const [options, setOptions] = useState<Options>(FRESH);
  const [reason, setReason] = useState("");
  /** Counts what changed the document from outside its editor. */
  const [turn, setTurn] = useState(0);
  const updates = useMemo(() => updatesOf(base.config, doc, secrets), [base, doc, secrets]);
  const begin = (on: Config, next: Values) => {
    setBase(on);
    setDoc(next);
    setUnreadable({});
    setTurn(turn + 1);
  };
  return {
    base,
    doc,
    setDoc,
    secrets,
    setSecret: (key: string, path: string[], value: string) =>
      setSecrets(({ [key]: _, ...others }) => (value ? { ...others, [key]: { path, value } } : others)),
    unreadable: Object.entries(unreadable),
    setUnreadable: (key: string, why: string) =>
      setUnreadable(({ [key]: was, ...others }) => (why ? { ...others, [key]: why } : others)),
    options,
    change: (part: Partial<Options>) => setOptions((before) => ({ ...before, ...part })),
    reason,
    setReason,
    turn,
    updates,
    dirty: Object.keys(updates).length > 0 || Object.keys(unreadable).length > 0,
    goOnFrom: (on: Config) => begin(on, patched(on.config, patchOf(base.config, doc))),
    startAgain: (on: Config) => {
      setSecrets({});
      setReason("");
      begin(on, on.config);
    },
  };
}

export type Draft = ReturnType<typeof useDraft>;

function Change({ agent, now }: { agent: string; now: Config }) {
  const draft = useDraft(now);
  const queries = useQueryClient();
  const [sending, setSending] = useState<{ former: string | null; waiting: boolean; problem: unknown } | null>(null);
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
  const [problem, setProblem] = useState<unknown>(null);
  const leaving = useBlocker({
    shouldBlockFn: ({ current, next }) => draft.dirty && sending === null && current.pathname !== next.pathname,
    enableBeforeUnload: () => draft.dirty && sending === null,
    withResolver: true,
  });
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
        <Document draft={draft} groups={groups} wrong={[...local, ...check.wrong]} may={may} />
        <Stack gap="lg">
          <Panel title="What changes">
            <Stack gap="md">
              <Diff
                before={draft.base.config}
                after={afterwards(draft, check)}
                label="What changes in the configuration"
              />
              <Said draft={draft} check={check} local={local} />
            </Stack>
          </Panel>
          <Panel title="How it goes about">
            <Stack gap="md">
              <How agent={agent} draft={draft} groups={groups} />
              <Reason
                value={draft.reason}
                onChange={draft.setReason}
                reasons={["Temporary fix", "Tuning", "Incident"]}
              />
              <Text size="sm" c="dimmed" className="cut">
                As a command: <Command>{commandOf(agent, draft)}</Command>
              </Text>
              {problem !== null && <Failed error={problem} />}
              <Group justify="flex-end">
                {draft.dirty && (
                  <Button variant="default" onClick={() => draft.startAgain(now)}>
                    Undo everything
                  </Button>
                )}
                <Action why={whyNot(may, draft, local, check)} onAct={() => void apply()}>
                  Apply hot patch
                </Action>
              </Group>
            </Stack>
          </Panel>
        </Stack>
      </SimpleGrid>
      {leaving.status === "blocked" && (
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
      )}
    </>
  );
}

/** Codes of refusals that a revision is on record of. */
const REVISION = new Set(["config_refused", "config_reverted"]);

function bodyOf(draft: Pick<Draft, "updates" | "base" | "options">): Partial<Schemas["ConfigPatchBody"]> {
  return { config_updates: draft.updates, if_version: draft.base.config_version, ...asked(draft.options) };
}

function whyNot(may: string, draft: Draft, local: Wrong[], check: Check): string {
  if (may) return may;
  if (draft.unreadable.length) return "What is typed cannot be read yet.";
  if (!draft.dirty) return "Nothing is changed yet.";
  if (local.length || check.wrong.length) return "See what is wrong with it first.";
  if (check.plan?.status === "unchanged") return OVERRULED;
  if (draft.options.reach === "chosen" && !draft.options.places.length) return "Choose the instances that get it.";
  return draft.reason.trim() ? "" : "Say why; it is kept in the audit.";
}

const OVERRULED = "It would change nothing: something else counts over it, such as a temporary value.";

/** As far as the server said it: until then, what is written. For chosen instances it names the others' values only. */
function afterwards(draft: Draft, check: Check): Values {
  const after = shownWith(draft.doc, draft.secrets);
  const told = check.plan && !check.pending && draft.options.reach !== "chosen";
  return told ? foreseen(draft.base.config, after, check.plan?.config_changes as Changes) : after;
}

interface Check {
  wrong: Wrong[];
  problem: unknown;
  plan: Schemas["ConfigPatchView"] | null;
  pending: boolean;
}

/** The server's dry run, once nothing was typed for a moment. Who may not change anything may still ask what the schema says. */
function useCheck(agent: string, draft: Draft, may: string, wanted: boolean): Check {
  const { updates, base, options } = draft;
  const body = useMemo(() => bodyOf({ updates, base, options }), [updates, base, options]);
  const [sent] = useDebouncedValue(body, 300);
  const enabled =
    wanted && draft.dirty && !draft.unreadable.length && Object.keys(sent.config_updates ?? {}).length > 0;
  const found = useQuery({
    queryKey: ["hot patch", agent, Boolean(may), sent],
    enabled,
    retry: 0,
    gcTime: 0,
    queryFn: async ({ signal }) => {
      const params = { path: { agent_id: agent } };
      const { data, error } = may
        ? await http.POST("/api/platform/agents/{agent_id}/config/validate", {
            params,
            signal,
            body: { config_updates: sent.config_updates ?? {} },
          })
        : await http.PATCH("/api/platform/agents/{agent_id}/config", {
            params,
            signal,
            body: { ...sent, dry_run: true, reason: "check" } as Schemas["ConfigPatchBody"],
          });
      if (error) throw error;
      return data as Schemas["ConfigPatchView"];
    },
  });
  const problem = enabled ? (found.error as Problem | null) : null;
  const errors = problem?.errors?.length
    ? problem.errors
    : problem
      ? [{ path: "", message: problem.detail ?? "The server cannot be reached." }]
      : [];
  return {
    wrong: errors,
    problem,
    plan: enabled ? (found.data ?? null) : null,
    pending: enabled && (found.isPending || sent !== body),
  };
}

function Document({ draft, groups, wrong, may }: { draft: Draft; groups: FieldGroup[]; wrong: Wrong[]; may: string }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const shape = search.as ?? "form";
  const suggest = useMemo(() => suggester(draft.base.schema, draft.base.reserved_schema), [draft.base]);
  const [stuck, setStuck] = useState(false);
  const turnTo = (as: string) => {
    setStuck(draft.unreadable.length > 0);
    if (!draft.unreadable.length) void navigate({ search: { as: as as typeof shape }, replace: true });
  };
  return (
    <Panel
      title={`On top of ${draft.base.config_version}`}
      aside={
        <SegmentedControl
          aria-label="Shown as"
          value={shape}
          onChange={turnTo}
          data={[
            { value: "form", label: "Form" },
            { value: "json", label: "JSON" },
            { value: "yaml", label: "YAML" },
          ]}
        />
      }
    >
      <Stack gap="md">
        <Text c="dimmed">
          Takes effect while the agent runs. Every instance is asked first, and a refusal of one changes nothing.
          {shape === "form"
            ? ""
            : ' Secrets are typed in the form only; here they can be named: {"$secret": "name"}. A key that is taken out gets back what lies below.'}
        </Text>
        {may && <Text className="tone-warn">{may} You can look at what would change.</Text>}
        {stuck && draft.unreadable.length > 0 && (
          <Text className="tone-bad" role="alert">
            What is typed cannot be read yet; mend it before it is shown in another way.
          </Text>
        )}
        {shape === "form" ? (
          <Form
            key={draft.turn}
            groups={groups}
            base={draft.base.config}
            doc={draft.doc}
            secrets={draft.secrets}
            wrong={[...wrong, ...draft.unreadable.map(([path, message]) => ({ path, message }))]}
            reload={draft.base.reload}
            options={draft.options}
            onChange={draft.setDoc}
            onSecret={(field, value) => draft.setSecret(field.key, field.path, value)}
            onUnreadable={draft.setUnreadable}
          />
        ) : (
          <Suspense fallback={<Skeleton height={320} />}>
            <Editor
              key={`${shape} ${draft.turn}`}
              label={`Configuration of ${draft.base.agent_id} as ${shape.toUpperCase()}`}
              format={shape}
              initial={draft.doc}
              wrong={wrong}
              suggest={suggest}
              readOnly={false}
              onChange={draft.setDoc}
              onUnreadable={(why) => draft.setUnreadable("", why)}
            />
          </Suspense>
        )}
      </Stack>
    </Panel>
  );
}

function Said({ draft, check, local }: { draft: Draft; check: Check; local: Wrong[] }) {
  const wrong = [...local, ...check.wrong];
  // A text has them at its lines, under it.
  const listed = (route.useSearch().as ?? "form") === "form";
  if (!draft.dirty) return null;
  if (draft.unreadable.length) return <Status tone="bad">What is typed cannot be read yet</Status>;
  return (
    <Stack gap="xs" role="status" aria-label="What the server says" aria-busy={check.pending || undefined}>
      {check.pending ? (
        <Status tone="busy">Asking the server</Status>
      ) : wrong.length ? (
        <Status tone="bad">{wrong.length === 1 ? "1 thing is wrong" : `${wrong.length} things are wrong`}</Status>
      ) : (
        check.plan &&
        (check.plan.status === "unchanged" ? (
          <Text className="tone-warn">{OVERRULED}</Text>
        ) : (
          <Status tone="good">
            {check.plan.by === "rolling_restart" ? "Valid; a rolling restart brings it" : "Valid; nothing is restarted"}
          </Status>
        ))
      )}
      {listed &&
        !check.pending &&
        wrong.map((each) => (
          <Text key={`${each.path} ${each.message}`} size="sm" className="tone-bad cut">
            {each.path ? `${each.path}: ${each.message}` : each.message}
          </Text>
        ))}
      {!check.pending && <Warnings of={check.plan?.warnings ?? []} />}
    </Stack>
  );
}

function How({ agent, draft, groups }: { agent: string; draft: Draft; groups: FieldGroup[] }) {
  const instances = api.useQuery("get", "/api/platform/agents/{agent_id}/instances", {
    params: { path: { agent_id: agent } },
  });
  const places = [...new Set((instances.data?.instances ?? []).map((each) => each.place))].sort(
    (one, other) => one - other,
  );
  const startOnly =
    draft.base.reload === "restart" || groups.some((group) => group.fields.some((field) => field.scope === "restart"));
  return (
    <HowTo
      options={draft.options}
      places={places}
      reload={draft.base.reload}
      startOnly={startOnly}
      change={draft.change}
    />
  );
}

function Meanwhile({ draft, now }: { draft: Draft; now: Config }) {
  const both = conflicts(draft.base.config, draft.doc, now.config);
  const last = now.change;
  return (
    <Panel title="Somebody changed it meanwhile">
      <Stack gap="sm" role="alert">
        <Text className="cut">
          You began on {draft.base.config_version}; {now.agent_id} now has {now.config_version}
          {last?.config_version === now.config_version ? `, by ${last.operator}: ${last.reason}` : ""}.
        </Text>
        <Diff before={draft.base.config} after={now.config} label="What somebody else changed" />
        {both.length > 0 && (
          <Text className="tone-warn cut">Both of you changed {both.join(", ")}; going on, yours is proposed.</Text>
        )}
        <Group>
          <Button onClick={() => draft.goOnFrom(now)}>Go on from {now.config_version}</Button>
          <Button variant="default" onClick={() => draft.startAgain(now)}>
            Drop my change
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}

function commandOf(agent: string, draft: Draft): string {
  const given = Object.entries(patchOf(draft.base.config, draft.doc)).map(
    ([key, value]) => `${key}=${word(JSON.stringify(value))}`,
  );
  const hidden = Object.keys(draft.secrets).map((key) => `${key}=secret:NAME`);
  const parts = [
    "servicing patch",
    agent,
    ...(given.length + hidden.length ? [...given, ...hidden] : ["KEY=VALUE"]),
    ...words(draft.options),
  ];
  return `${parts.join(" ")} --reason ${quoted(draft.reason || "…")}`;
}

/** Quoted where a shell would make something of it. */
function word(text: string): string {
  return /^[\w.+-]+$/.test(text) ? text : quoted(text);
}
