/** The configuration that is edited, as pure steps: what was changed in it, the same change on top of another revision, and what both changed. */
import { changedKeys, flat, isTable, same, type Values } from "../../lib/lines";

export type Path = string[];

/** What the server shows in place of a secret. */
export const MASK = "•••";

/** A JSON merge patch (RFC 7396) from one to the other; null takes a key back to the layer below. */
export function patchOf(before: Values, after: Values): Values {
  const patch: Values = {};
  for (const [key, value] of Object.entries(after)) {
    const was = before[key];
    if (Object.hasOwn(before, key) && same(was, value)) continue;
    patch[key] = isTable(was) && isTable(value) ? patchOf(was, value) : value;
  }
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) patch[key] = null;
  return patch;
}

export function patched(values: Values, patch: Values): Values {
  const found = { ...values };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete found[key];
    else if (isTable(value)) found[key] = patched(isTable(found[key]) ? found[key] : {}, value);
    else found[key] = value;
  }
  return found;
}

export function at(values: Values, path: Path): unknown {
  let found: unknown = values;
  for (const part of path) found = isTable(found) && Object.hasOwn(found, part) ? found[part] : undefined;
  return found;
}

/** The same values with this one; undefined takes it out, and the tables with it that are then empty. */
export function put(values: Values, path: Path, value: unknown): Values {
  const [first, ...rest] = path;
  if (first === undefined) return values;
  const next = { ...values };
  if (!rest.length) {
    if (value === undefined) delete next[first];
    else next[first] = value;
    return next;
  }
  const inner = isTable(next[first]) ? next[first] : {};
  const changed = put(inner, rest, value);
  if (value === undefined && !Object.keys(changed).length) delete next[first];
  else next[first] = changed;
  return next;
}

/** Keys that were changed here and, otherwise, meanwhile by somebody else. */
export function conflicts(base: Values, mine: Values, theirs: Values): string[] {
  const [own, other] = [flat(mine), flat(theirs)];
  const others = new Set(changedKeys(base, theirs));
  return changedKeys(base, mine).filter((key) => others.has(key) && !same(own[key], other[key]));
}

/** What is asked of the server: the change of the document, and the secrets that were typed beside it. */
export function updatesOf(base: Values, doc: Values, secrets: Record<string, Secret>): Values {
  return Object.values(secrets).reduce<Values>(
    (found, { path, value }) => put(found, path, sent(value)),
    patchOf(base, doc),
  );
}

/** A secret that was typed: it is in no document, so that it is in no text and no difference. */
export interface Secret {
  path: Path;
  value: string;
}

/** As the command line reads it: `secret:NAME` refers to a secret that there is. */
function sent(value: string): unknown {
  return value.startsWith("secret:") ? { $secret: value.slice("secret:".length) } : value;
}

/** Both sides as they may be shown: a secret that was typed is only said to be new. */
export function shownWith(doc: Values, secrets: Record<string, Secret>): Values {
  return Object.values(secrets).reduce(
    (found, { path, value }) => put(found, path, value.startsWith("secret:") ? value : `${MASK} (a new value)`),
    doc,
  );
}
