/** Two texts as one, with signs before the lines that went and came. Brought by `Diff`, when there is something to compare. */
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { look } from "./look";

const signs = EditorView.theme({
  "&": { border: "1px solid var(--line)", borderRadius: "6px", maxHeight: "420px", overflow: "hidden" },
  ".cm-scroller": { overflow: "auto" },
  ".cm-content": { padding: "4px 0" },
  ".cm-line": { padding: "0 8px 0 24px" },
  ".cm-deletedChunk": { padding: "0", backgroundColor: "transparent" },
  ".cm-deletedChunk .cm-deletedLine": {
    position: "relative",
    padding: "0 8px 0 24px",
    backgroundColor: "color-mix(in srgb, var(--tone-bad) 9%, transparent)",
  },
  "&.cm-merge-b .cm-changedLine": {
    position: "relative",
    backgroundColor: "color-mix(in srgb, var(--tone-good) 9%, transparent)",
  },
  ".cm-deletedChunk .cm-deletedLine::before, &.cm-merge-b .cm-changedLine::before": {
    position: "absolute",
    left: "8px",
    fontWeight: "700",
  },
  ".cm-deletedChunk .cm-deletedLine::before": { content: '"−"', color: "var(--tone-bad)" },
  "&.cm-merge-b .cm-changedLine::before": { content: '"+"', color: "var(--tone-good)" },
  "& .cm-deletedChunk .cm-deletedText": { background: "color-mix(in srgb, var(--tone-bad) 22%, transparent)" },
  "&.cm-merge-b .cm-changedText": { background: "color-mix(in srgb, var(--tone-good) 20%, transparent)" },
  "& .cm-collapsedLines": {
    color: "var(--mantine-color-dimmed)",
    background: "var(--surface-sunken)",
    padding: "2px 8px 2px 24px",
  },
});

export function DiffView({
  before,
  after,
  label,
  whole,
}: {
  before: string;
  after: string;
  label: string;
  whole: boolean;
}) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current) return;
    // A side with nothing on it would be one empty line that went or came.
    const end = before && after ? "" : "\n";
    const view = new EditorView({
      parent: place.current,
      doc: after && after + end,
      extensions: [
        look(label, false),
        signs,
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        // What is long scrolls in itself, also by keyboard.
        EditorView.contentAttributes.of({ tabindex: "0" }),
        unifiedMergeView({
          original: before && before + end,
          mergeControls: false,
          gutter: false,
          collapseUnchanged: whole ? undefined : { margin: 2, minSize: 4 },
        }),
      ],
    });
    return () => view.destroy();
  }, [before, after, label, whole]);
  return <div ref={place} />;
}
