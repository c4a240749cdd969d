/** Values as lines that can be compared: one for each dotted key, in the order of the keys, so that nothing differs but what differs. */
export type Values = Record<string, unknown>;
/** What the server says about a change, by dotted key; null stands for nothing. */
export type Changes = Record<string, { old?: unknown; new?: unknown }>;

export function isTable(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every leaf by its dotted key. */
export function flat(values: Values, prefix = ""): Values {
  const found: Values = {};
  for (const [key, value] of Object.entries(values)) {
    const name = prefix + key;
    if (isTable(value) && Object.keys(value).length) Object.assign(found, flat(value, `${name}.`));
    else found[name] = value;
  }
  return found;
}

export function same(one: unknown, other: unknown): boolean {
  if (isTable(one) && isTable(other)) {
    const keys = Object.keys(one);
    return (
      keys.length === Object.keys(other).length &&
      keys.every((key) => Object.hasOwn(other, key) && same(one[key], other[key]))
    );
  }
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((each, place) => same(each, other[place]));
  return one === other;
}

/** Dotted keys that differ, sorted. */
export function changedKeys(before: Values, after: Values): string[] {
  const [left, right] = [flat(before), flat(after)];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((key) => Object.hasOwn(left, key) !== Object.hasOwn(right, key) || !same(left[key], right[key]))
    .sort();
}

/** As YAML says it; a text of several lines stands as such, so that a prompt is compared line by line. */
export function asLines(values: Values, only?: Set<string>): string {
  const leaves = flat(values);
  return Object.keys(leaves)
    .filter((key) => !only || only.has(key))
    .sort()
    .map((key) => `${key}: ${asLine(leaves[key])}`)
    .join("\n");
}

function asLine(value: unknown): string {
  if (typeof value === "string" && value.includes("\n"))
    return ["|", ...value.split("\n").map((line) => `  ${line}`)].join("\n");
  return JSON.stringify(value) ?? "null";
}

/** Both sides of what the server says changed. */
export function sidesOf(changes: Changes): { before: Values; after: Values } {
  const side = (which: "old" | "new") =>
    Object.fromEntries(
      Object.entries(changes)
        .filter(([, change]) => change[which] !== null && change[which] !== undefined)
        .map(([key, change]) => [key, change[which]]),
    );
  return { before: side("old"), after: side("new") };
}

/** What will stand there, by what the server says of the change: what is taken out gets what lies below, and not everything that is set counts. */
export function foreseen(before: Values, after: Values, changes: Changes): Values {
  const was = flat(before);
  const next = flat(after);
  for (const key of changedKeys(before, after)) {
    const found = changes[key];
    const value = found ? (key in next ? next[key] : found.new) : was[key];
    if (value === null || value === undefined) delete next[key];
    else next[key] = value;
  }
  return next;
}
