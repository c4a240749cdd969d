/** The same change as one would ask for it at the command line. A secret that was typed is not in it. */
import { quoted } from "../../lib/words";
import { patchOf } from "./document";
import type { Draft } from "./draft";
import { words } from "./options";

type Asked = Pick<Draft, "base" | "doc" | "secrets" | "options" | "reason">;

export function commandOf(agent: string, draft: Asked): string {
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
