/** What could stand where one types, by the schema. Text that has one key a line, as it is written here, is enough to know where that is. */
import { isTable, type Values } from "../../lib/lines";
import type { Path } from "./document";
import { resolved } from "./fields";

export interface Offer {
  label: string;
  apply: string;
  detail: string;
  info: string;
}

export interface Place {
  /** The tables around. */
  path: Path;
  /** Set where a value is typed. */
  key?: string;
  /** What is typed already, and where that begins in the line. */
  typed: string;
  from: number;
}

const KEY = /^(\s*)"?([A-Za-z_$][\w.$-]*)?$/;
const VALUE = /^(\s*)"?([A-Za-z_$][\w.$-]*)"?\s*:\s*("?[\w.-]*)$/;
const OPENING = /^(\s*)"?([A-Za-z_$][\w.$-]*)"?\s*:\s*\{?\s*$/;

/** Where the cursor is, with `before` the text up to it; null where nothing can be said. */
export function placeOf(before: string): Place | null {
  const lines = before.split("\n");
  const line = lines.pop() ?? "";
  const value = VALUE.exec(line);
  if (value)
    return {
      path: around(lines, indent(value[1])),
      key: value[2],
      typed: value[3] ?? "",
      from: line.length - (value[3] ?? "").length,
    };
  const key = KEY.exec(line);
  if (!key) return null;
  const typed = line.trimStart();
  return { path: around(lines, indent(key[1])), typed, from: line.length - typed.length };
}

/** The keys that open the tables around a line with this indentation. */
function around(lines: string[], deep: number): Path {
  const path: Path = [];
  let left = deep;
  for (let at = lines.length - 1; at >= 0 && left > 0; at -= 1) {
    const found = OPENING.exec(lines[at] ?? "");
    if (found && indent(found[1]) < left) {
      path.unshift(found[2] ?? "");
      left = indent(found[1]);
    }
  }
  return path;
}

const indent = (spaces: string | undefined) => (spaces ?? "").length;

/** `present` are the keys that stand there already. */
export function offers(schema: Values, place: Place, present: string[], quoted: boolean): Offer[] {
  const rules = place.path.reduce<Values>((found, part) => propertyOf(found, part, schema), resolved(schema, schema));
  if (place.key !== undefined) return values(propertyOf(rules, place.key, schema), quoted);
  return Object.keys(isTable(rules.properties) ? rules.properties : {})
    .filter((name) => !present.includes(name))
    .map((name) => {
      const found = propertyOf(rules, name, schema);
      const key = quoted ? JSON.stringify(name) : name;
      return {
        label: name,
        apply: `${key}: `,
        detail: String(found.type ?? ""),
        info: String(found.description ?? ""),
      };
    });
}

function values(rules: Values, quoted: boolean): Offer[] {
  const found = Array.isArray(rules.enum) ? rules.enum : rules.type === "boolean" ? [true, false] : [];
  const all = rules.default !== undefined && !found.includes(rules.default) ? [...found, rules.default] : found;
  return all
    .filter((value) => value === null || typeof value !== "object")
    .map((value) => {
      const text = quoted || typeof value !== "string" ? JSON.stringify(value) : value;
      return { label: String(value), apply: text, detail: value === rules.default ? "default" : "", info: "" };
    });
}

function propertyOf(rules: Values, name: string, root: Values): Values {
  const found = isTable(rules.properties) ? rules.properties[name] : undefined;
  return resolved(isTable(found) ? found : {}, root);
}

/** For the editor: by the text before the cursor, what fits into a configuration of this agent. */
export function suggester(schema: Values | null | undefined, reserved: Values) {
  const whole = {
    ...schema,
    properties: { ...(isTable(schema?.properties) ? schema.properties : {}), servicing: reserved },
  };
  return (before: string, doc: Values | null, quoted: boolean) => {
    const place = placeOf(before);
    if (!place) return null;
    const table = place.path.reduce<unknown>((found, part) => (isTable(found) ? found[part] : undefined), doc ?? {});
    return {
      options: offers(whole, place, isTable(table) ? Object.keys(table) : [], quoted),
      typed: place.typed.length,
    };
  };
}
