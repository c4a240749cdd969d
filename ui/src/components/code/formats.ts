/** The ways a document is written: how it is read, where a key of it stands, what colours it. YAML's own reader comes when somebody wants YAML. */
import { json, jsonLanguage } from "@codemirror/lang-json";
import { yaml, yamlLanguage } from "@codemirror/lang-yaml";
import type { Language, LanguageSupport } from "@codemirror/language";
import type { SyntaxNode } from "@lezer/common";
import { isTable, type Values } from "../../lib/lines";

export type FormatName = "json" | "yaml";
export type Read = { doc: Values } | { problem: string; at: number };

export interface Format {
  support: LanguageSupport;
  language: Language;
  read: (text: string) => Read;
  write: (doc: Values) => string;
}

const NO_TABLE = "A configuration is a table of keys and values.";

const JSON_FORMAT: Format = {
  support: json(),
  language: jsonLanguage,
  read: (text) => {
    try {
      return table(JSON.parse(text));
    } catch (error) {
      return { problem: sentence(error), at: wrongAt(jsonLanguage, text) };
    }
  },
  write: (doc) => JSON.stringify(doc, null, 2),
};

export async function formatOf(name: FormatName): Promise<Format> {
  if (name === "json") return JSON_FORMAT;
  const { parseDocument, stringify } = await import("yaml");
  return {
    support: yaml(),
    language: yamlLanguage,
    read: (text) => {
      const found = parseDocument(text, { prettyErrors: false });
      const wrong = found.errors[0];
      if (wrong) return { problem: wrong.message, at: Math.min(wrong.pos[0], text.length) };
      // As what will be sent: whatever YAML knows beyond JSON is no value of a configuration.
      return table(JSON.parse(JSON.stringify(found.toJS({ maxAliasCount: 100 }) ?? {})));
    },
    write: (doc) => (Object.keys(doc).length ? stringify(doc, { lineWidth: 0 }) : ""),
  };
}

function table(value: unknown): Read {
  return isTable(value) ? { doc: value } : { problem: NO_TABLE, at: 0 };
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^JSON\.parse: /, "") : "It cannot be read.";
}

/** Browsers say where JSON breaks in words of their own; the syntax tree knows. */
function wrongAt(language: Language, text: string): number {
  let found = -1;
  language.parser.parse(text).iterate({
    enter: (node) => {
      if (node.type.isError && found < 0) found = node.from;
    },
  });
  return found < 0 ? text.length : found;
}

/** From where to where the key of this dotted path stands, else the nearest table around it. */
export function locate(language: Language, text: string, path: string): { from: number; to: number } {
  let place: SyntaxNode | null = holding(language.parser.parse(text).topNode);
  let found = { from: 0, to: 0 };
  let left = path;
  while (place && left) {
    // A key may have dots of its own: the longest that fits is meant.
    const next: Entry | undefined = entries(place, text)
      .filter((each) => left === each.name || left.startsWith(`${each.name}.`))
      .sort((one, other) => other.name.length - one.name.length)[0];
    if (!next) break;
    found = { from: next.key.from, to: next.key.to };
    left = left.slice(next.name.length + 1);
    place = next.value;
  }
  return found;
}

interface Entry {
  name: string;
  key: SyntaxNode;
  value: SyntaxNode | null;
}

const TABLES = new Set(["Object", "BlockMapping", "FlowMapping"]);
const LISTS = new Set(["Array", "BlockSequence", "FlowSequence"]);

function holding(node: SyntaxNode): SyntaxNode | null {
  if (TABLES.has(node.name) || LISTS.has(node.name)) return node;
  for (let child = node.firstChild; child; child = child.nextSibling) {
    const found = holding(child);
    if (found) return found;
  }
  return null;
}

function entries(place: SyntaxNode, text: string): Entry[] {
  const found: Entry[] = [];
  for (let child = place.firstChild; child; child = child.nextSibling) {
    if (child.name === "Property" || child.name === "Pair") {
      const key = child.firstChild;
      const value = child.lastChild;
      if (key)
        found.push({
          name: unquoted(text.slice(key.from, key.to)),
          key,
          value: value && value !== key ? holding(value) : null,
        });
    } else if (LISTS.has(place.name) && !/^[[\],⚠-]$/.test(child.name)) {
      found.push({ name: String(found.length), key: child, value: holding(child) });
    }
  }
  return found;
}

function unquoted(text: string): string {
  try {
    return text.startsWith('"') ? String(JSON.parse(text)) : text.replace(/^'(.*)'$/, "$1");
  } catch {
    return text;
  }
}
