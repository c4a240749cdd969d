/** The one document that is edited, as form and as text, with everything that is asked for with it. It stays on the revision that it was begun on until one says to go on from another. */
import { useMemo, useState } from "react";
import type { Schemas } from "../../api/client";
import type { Values } from "../../lib/lines";
import { patched, patchOf, type Secret, updatesOf } from "./document";
import { asked, FRESH, type Options } from "./options";

export type Config = Schemas["ConfigModel"];

export function useDraft(now: Config) {
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

/** What the server is asked for, but for the reason. */
export function bodyOf(draft: Pick<Draft, "updates" | "base" | "options">): Partial<Schemas["ConfigPatchBody"]> {
  return { config_updates: draft.updates, if_version: draft.base.config_version, ...asked(draft.options) };
}
