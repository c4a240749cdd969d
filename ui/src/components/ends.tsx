/** How a dialog ends: what went wrong, the way out, and the act. The act happens once, however often it is clicked; after a problem it can be tried again. */
import { Button, Group } from "@mantine/core";
import { useRef, useState } from "react";
import { Failed } from "./panel";

interface Props<Answer> {
  act: string;
  keep?: string;
  danger?: boolean;
  /** Something that is needed is not there yet. */
  missing?: boolean;
  /** The dialog begins on the way out. */
  careful?: boolean;
  onAct: () => Promise<{ data?: Answer; error?: unknown }>;
  /** After the act; the dialog closes where nothing else is said. */
  onDone?: (answer: Answer | undefined) => void;
  onClose: () => void;
}

export function Ends<Answer>({ act, keep = "Not now", onAct, onClose, onDone = onClose, ...looks }: Props<Answer>) {
  const { danger = false, missing = false, careful = false } = looks;
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  // A second click may come before the busy button is drawn.
  const begun = useRef(false);
  const once = async () => {
    if (begun.current) return;
    begun.current = true;
    setBusy(true);
    const { data, error } = await onAct();
    if (!error) {
      onDone(data);
      return;
    }
    begun.current = false;
    setBusy(false);
    setProblem(error);
  };
  return (
    <>
      {problem !== null && <Failed error={problem} />}
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose} data-autofocus={careful || undefined}>
          {keep}
        </Button>
        <Button color={danger ? "danger" : undefined} loading={busy} disabled={missing} onClick={() => void once()}>
          {act}
        </Button>
      </Group>
    </>
  );
}
