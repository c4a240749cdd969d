/** A document as text. Whatever is wrong with a key stands at its line and below, where it can be jumped to. Tab leaves it, as it leaves every field. */
import {
  autocompletion,
  type CompletionContext,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { Skeleton, Stack, Text } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import type { Values } from "../../lib/lines";
import { type Format, type FormatName, formatOf, locate } from "./formats";
import { look } from "./look";

export interface Wrong {
  /** Dotted key, empty for the whole. */
  path: string;
  message: string;
}

export interface Suggestion {
  label: string;
  apply: string;
  detail: string;
  info: string;
}

/** By the text before the cursor: what fits, and how many characters of it are typed already. */
export type Suggest = (
  before: string,
  doc: Values | null,
  quoted: boolean,
) => { options: Suggestion[]; typed: number } | null;

interface Props {
  label: string;
  format: FormatName;
  /** What it begins with; later changes come from here only. */
  initial: Values;
  wrong: Wrong[];
  suggest: Suggest;
  readOnly: boolean;
  onChange: (doc: Values) => void;
  /** Empty once it can be read again. */
  onUnreadable: (why: string) => void;
}

const frame = EditorView.theme({
  "&": { border: "1px solid var(--line)", borderRadius: "6px", overflow: "hidden" },
  ".cm-scroller": { minHeight: "260px", maxHeight: "560px", overflow: "auto" },
  ".cm-tooltip": {
    backgroundColor: "var(--surface)",
    color: "var(--mantine-color-text)",
    border: "1px solid var(--line)",
    borderRadius: "6px",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "4px 8px", lineHeight: "1.5" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "var(--mantine-primary-color-filled)",
    color: "#ffffff",
  },
  ".cm-completionInfo": { padding: "6px 10px", maxWidth: "320px" },
  ".cm-completionDetail": { marginLeft: "12px", fontStyle: "normal", opacity: "1" },
  ".cm-diagnostic": { padding: "6px 10px" },
});

export function Editor(props: Props) {
  const [format, setFormat] = useState<Format | null>(null);
  useEffect(() => {
    let wanted = true;
    void formatOf(props.format).then((found) => wanted && setFormat(found));
    return () => {
      wanted = false;
    };
  }, [props.format]);
  return format ? <Written {...props} found={format} /> : <Skeleton height={320} />;
}

function Written({ found, ...props }: Props & { found: Format }) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [text, setText] = useState("");
  const [unreadable, setUnreadable] = useState<{ problem: string; at: number } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text is made once; from then on it is what is typed
  useEffect(() => {
    if (!place.current) return;
    const read = (typed: string) => {
      const said = found.read(typed);
      setText(typed);
      setUnreadable("doc" in said ? null : said);
      latest.current.onUnreadable("doc" in said ? "" : said.problem);
      if ("doc" in said) latest.current.onChange(said.doc);
    };
    const made = new EditorView({
      parent: place.current,
      doc: found.write(latest.current.initial),
      extensions: [
        look(props.label),
        frame,
        found.support,
        lineNumbers(),
        lintGutter(),
        history(),
        closeBrackets(),
        autocompletion({ icons: false, override: [(context) => completions(context, found, latest.current)] }),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
        EditorView.editable.of(!props.readOnly),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) read(update.state.doc.toString());
        }),
      ],
    });
    view.current = made;
    setText(made.state.doc.toString());
    return () => made.destroy();
  }, [found]);

  const placed = unreadable
    ? [{ ...between(text, unreadable.at), message: unreadable.problem }]
    : props.wrong
        .map((each) => ({ ...locate(found.language, text, each.path), message: saying(each) }))
        .sort((one, other) => one.from - other.from);
  const diagnostics = JSON.stringify(placed);
  useEffect(() => {
    const now = view.current;
    if (!now) return;
    const most = now.state.doc.length;
    const inside = (JSON.parse(diagnostics) as typeof placed)
      .map(
        (each): Diagnostic => ({
          severity: "error",
          from: Math.min(each.from, most),
          to: Math.min(each.to, most),
          message: each.message,
        }),
      )
      .sort((one, other) => one.from - other.from);
    now.dispatch(setDiagnostics(now.state, inside));
  }, [diagnostics]);

  const jump = (from: number) => {
    view.current?.focus();
    view.current?.dispatch({ selection: { anchor: from }, scrollIntoView: true });
  };
  return (
    <Stack gap="xs">
      <div ref={place} />
      <ul className="wrong" aria-label="What is wrong, by line" hidden={!placed.length}>
        {placed.map((each) => (
          <li key={`${each.from} ${each.message}`}>
            <button type="button" className="link" onClick={() => jump(each.from)}>
              Line {text.slice(0, each.from).split("\n").length}
            </button>{" "}
            <span className="tone-bad cut">{each.message}</span>
          </li>
        ))}
      </ul>
      <Text size="sm" c="dimmed">
        Ctrl Space completes, F8 goes to what is wrong, Tab leaves the text.
      </Text>
    </Stack>
  );
}

function saying({ path, message }: Wrong): string {
  return path ? `${path}: ${message}` : message;
}

/** A place of one character, so that there is something to mark. */
function between(text: string, at: number): { from: number; to: number } {
  const from = Math.max(0, Math.min(at, text.length - 1));
  return { from, to: Math.min(from + 1, text.length) };
}

function completions(context: CompletionContext, format: Format, props: Props) {
  const before = context.state.sliceDoc(0, context.pos);
  const read = format.read(context.state.doc.toString());
  const found = props.suggest(before, "doc" in read ? read.doc : null, props.format === "json");
  if (!found?.options.length || (!context.explicit && !found.typed)) return null;
  return {
    from: context.pos - found.typed,
    options: found.options.map((option) => ({
      label: props.format === "json" && option.apply.startsWith('"') ? JSON.stringify(option.label) : option.label,
      displayLabel: option.label,
      apply: (view: EditorView, _: unknown, from: number, to: number) => {
        // A quote that closes by itself is part of what is replaced.
        const end = option.apply.startsWith('"') && view.state.sliceDoc(to, to + 1) === '"' ? to + 1 : to;
        view.dispatch({
          changes: { from, to: end, insert: option.apply },
          selection: { anchor: from + option.apply.length },
        });
      },
      detail: option.detail || undefined,
      info: option.info || undefined,
    })),
  };
}
