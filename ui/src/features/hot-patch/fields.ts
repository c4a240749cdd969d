/** From a JSON Schema to the fields of a form: groups, units, ranges, and why a key cannot be changed as things are. */
import { isTable, type Values } from "../../lib/lines";
import type { Path } from "./document";

export type Kind = "switch" | "integer" | "number" | "text" | "choice" | "secret" | "other";

export interface Field {
  key: string;
  path: Path;
  kind: Kind;
  title: string;
  description: string;
  unit: string;
  range: string;
  low?: number;
  high?: number;
  choices: string[];
  /** When a change takes effect: hot, next-conversation or restart. */
  scope: string;
  /** What counts when nothing is set, as far as the schema says. */
  fallback?: unknown;
}

export interface FieldGroup {
  title: string;
  description: string;
  fields: Field[];
}

type Schema = Values;
const DEEPEST = 8;

/** Fields of what the schema describes and of what is set without it. The keys of a table stand together under its name. */
export function groupsOf(schema: Schema | null | undefined, values: Values): FieldGroup[] {
  const main: FieldGroup = { title: "", description: "", fields: [] };
  const groups = [main];
  const walk = (rules: Schema, root: Schema, path: Path, scope: string, group: FieldGroup) => {
    for (const [name, found] of Object.entries(tableOf(rules.properties))) {
      const inner = resolved(isTable(found) ? found : {}, root);
      const here = [...path, name];
      const own = typeof inner["x-servicing-apply"] === "string" ? inner["x-servicing-apply"] : scope;
      if (isTable(inner.properties) && here.length < DEEPEST) {
        let place = group;
        if (!path.length || group === main) {
          place = { title: here.join("."), description: textOf(inner.description), fields: [] };
          groups.push(place);
        }
        walk(inner, root, here, own, place);
      } else group.fields.push(fieldOf(inner, here, own));
    }
  };
  walk(schema ?? {}, schema ?? {}, [], "hot", main);
  const known = new Set(groups.flatMap((group) => group.fields.map((field) => field.path[0])));
  for (const [name, value] of Object.entries(values))
    if (!known.has(name) && name !== "servicing") main.fields.push(fieldOf(typed(value), [name], "hot"));
  return groups.filter((group) => group.fields.length);
}

/** Those that act on the runtime and the router, for every agent. */
export function reservedGroup(schema: Schema): FieldGroup {
  const inner = groupsOf({ properties: { servicing: schema } }, {});
  return {
    title: "Runtime and router",
    description: "For every agent, whatever it knows of configurations.",
    fields: inner.flatMap((group) => group.fields),
  };
}

export function fieldOf(rules: Schema, path: Path, scope: string): Field {
  const kind = kindOf(rules);
  const key = path.join(".");
  return {
    key,
    path,
    kind,
    title: textOf(rules.title),
    description: textOf(rules.description),
    unit: kind === "integer" || kind === "number" ? unitOf(path.at(-1) ?? "") : "",
    range: rangeOf(rules),
    low: numberOf(rules.minimum) ?? numberOf(rules.exclusiveMinimum),
    high: numberOf(rules.maximum) ?? numberOf(rules.exclusiveMaximum),
    choices: kind === "choice" ? (rules.enum as unknown[]).map(String) : [],
    scope,
    fallback: rules.default,
  };
}

/** References within a schema, and what may also be nothing: Pydantic's models say both. */
export function resolved(rules: Schema, root: Schema): Schema {
  let found = rules;
  for (let step = 0; step < DEEPEST && typeof found.$ref === "string" && found.$ref.startsWith("#/"); step += 1) {
    const { $ref, ...beside } = found;
    let target: unknown = root;
    for (const part of ($ref as string).slice(2).split("/"))
      target = isTable(target) ? target[part.replaceAll("~1", "/").replaceAll("~0", "~")] : undefined;
    found = { ...tableOf(target), ...beside };
  }
  const choices = Array.isArray(found.anyOf) ? found.anyOf.filter((each) => isTable(each) && each.type !== "null") : [];
  return choices.length === 1 ? { ...resolved(choices[0] as Schema, root), ...found, anyOf: undefined } : found;
}

function kindOf(rules: Schema): Kind {
  if (rules["x-servicing-secret"] === true) return "secret";
  if (Array.isArray(rules.enum) && rules.enum.length && rules.enum.every((each) => typeof each === "string"))
    return "choice";
  switch (rules.type) {
    case "boolean":
      return "switch";
    case "integer":
      return "integer";
    case "number":
      return "number";
    case "string":
      return "text";
    default:
      return "other";
  }
}

const UNITS: [RegExp, string][] = [
  [/(^|_)per_second$/, "per s"],
  [/(^|_)per_minute$/, "per min"],
  [/_(ms|milliseconds)$/, "ms"],
  [/_(s|seconds)$/, "s"],
  [/_minutes$/, "min"],
  [/_hours$/, "h"],
  [/_days$/, "d"],
  [/_kb$/, "kB"],
  [/_mb$/, "MB"],
  [/_gb$/, "GB"],
  [/_bytes$/, "bytes"],
  [/_percent$/, "%"],
];

/** The unit is the last word of a name, as everywhere here. */
export function unitOf(name: string): string {
  return UNITS.find(([ending]) => ending.test(name))?.[1] ?? "";
}

export function rangeOf(rules: Schema): string {
  const parts: string[] = [];
  const say = (key: string, words: string) => {
    if (typeof rules[key] === "number") parts.push(`${words} ${rules[key]}`);
  };
  if (typeof rules.minimum === "number" && typeof rules.maximum === "number") {
    parts.push(`${rules.minimum} to ${rules.maximum}`);
  } else {
    say("minimum", "from");
    say("exclusiveMinimum", "above");
    say("maximum", "up to");
  }
  say("exclusiveMaximum", "below");
  say("multipleOf", "in steps of");
  if (typeof rules.maxLength === "number") parts.push(`at most ${rules.maxLength} characters`);
  return parts.join(", ");
}

/** Why this key stays as it is for now; empty when it may be changed. */
export function lockOf(
  field: Pick<Field, "path" | "scope">,
  { reload, restart, places }: { reload: string; restart: string; places: boolean },
): string {
  const [first, second = ""] = field.path;
  if (first === "servicing")
    return places && ["rate_limit", "request_timeout_seconds"].includes(second)
      ? "The router does this for all instances together, not for chosen ones."
      : "";
  if (restart !== "locked") return "";
  if (reload === "restart")
    return "This agent reads its configuration at the start only. Allow a rolling restart to change it.";
  return field.scope === "restart" ? "It is read at the start only. Allow a rolling restart to change it." : "";
}

const tableOf = (value: unknown): Values => (isTable(value) ? value : {});
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);

/** What is set without a schema has the type that it has. */
function typed(value: unknown): Schema {
  if (typeof value === "string" && !value.includes("•••")) return { type: "string" };
  if (typeof value === "number" || typeof value === "boolean") return { type: typeof value };
  return {};
}
