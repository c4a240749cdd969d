/** What the server says to the draft: what would change, what is wrong with it, and why it cannot be applied yet. */
import { Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import type { Wrong } from "../../components/code/editor";
import { Diff } from "../../components/diff";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { type Changes, foreseen, type Values } from "../../lib/lines";
import type { Check } from "./check";
import { shownWith } from "./document";
import type { Draft } from "./draft";
import { Warnings } from "./options";

const route = getRouteApi("/agents/$agentId/hot-patch");

const OVERRULED = "It would change nothing: something else counts over it, such as a temporary value.";

export function Said({ draft, check, local }: { draft: Draft; check: Check; local: Wrong[] }) {
  return (
    <Panel title="What changes">
      <Stack gap="md">
        <Diff before={draft.base.config} after={afterwards(draft, check)} label="What changes in the configuration" />
        <Verdict draft={draft} check={check} local={local} />
      </Stack>
    </Panel>
  );
}

/** As far as the server said it: until then, what is written. For chosen instances it names the others' values only. */
function afterwards(draft: Draft, check: Check): Values {
  const after = shownWith(draft.doc, draft.secrets);
  const told = check.plan && !check.pending && draft.options.reach !== "chosen";
  return told ? foreseen(draft.base.config, after, check.plan?.config_changes as Changes) : after;
}

function Verdict({ draft, check, local }: { draft: Draft; check: Check; local: Wrong[] }) {
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

/** Why the change cannot be applied as it is; empty where it can. */
export function whyNot(may: string, draft: Draft, local: Wrong[], check: Check): string {
  if (may) return may;
  if (draft.unreadable.length) return "What is typed cannot be read yet.";
  if (!draft.dirty) return "Nothing is changed yet.";
  if (local.length || check.wrong.length) return "See what is wrong with it first.";
  if (check.plan?.status === "unchanged") return OVERRULED;
  if (draft.options.reach === "chosen" && !draft.options.places.length) return "Choose the instances that get it.";
  return draft.reason.trim() ? "" : "Say why; it is kept in the audit.";
}
