/** What is wrong with a change before anybody is asked: keys that are locked as things are, and secrets in a text. */
import { changedKeys, isTable, same, type Values } from "../../lib/lines";
import { at } from "./document";
import { type FieldGroup, lockOf } from "./fields";
import type { Options } from "./options";

export function refusals(
  base: Values,
  doc: Values,
  groups: FieldGroup[],
  reload: string,
  options: Pick<Options, "restart" | "reach">,
): { path: string; message: string }[] {
  const fields = groups.flatMap((group) => group.fields);
  const how = { reload, restart: options.restart, places: options.reach === "chosen" };
  const locked = changedKeys(base, doc).flatMap((key) => {
    const field = fields.find((each) => key === each.key || key.startsWith(`${each.key}.`));
    const why = lockOf(field ?? { path: key.split("."), scope: "hot" }, how);
    return why ? [{ path: key, message: why }] : [];
  });
  const typed = fields
    .filter((field) => field.kind === "secret")
    .filter(({ path }) => {
      const value = at(doc, path);
      return value !== undefined && !same(value, at(base, path)) && !(isTable(value) && "$secret" in value);
    })
    .map(({ key }) => ({ path: key, message: 'a secret is typed in the form, or named: {"$secret": "name"}' }));
  return [...locked, ...typed];
}
