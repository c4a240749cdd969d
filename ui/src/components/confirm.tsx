/** What is asked before something is done: what will happen, why, and, where it cannot be taken back, the agent's name typed out. */
import { Stack, Text, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { isTyped, quoted } from "../lib/words";
import { Command } from "./command";
import { Dialog } from "./dialog";
import { Ends } from "./ends";
import { Reason } from "./reason";

interface Props {
  title: string;
  words: ReactNode;
  act: string;
  keep?: string;
  danger?: boolean;
  /** Shown as quick answers to why; without them no reason is asked for. */
  reasons?: string[];
  /** The third level: this name has to be typed, and leaving it as it is has the focus. */
  typed?: string;
  /** The same for the command line. */
  command?: (reason: string) => string;
  onAct: (reason: string) => Promise<{ error?: unknown }>;
  onClose: () => void;
  children?: ReactNode;
}

export function Confirm({ title, words, act, onAct, onClose, children, ...more }: Props) {
  const { keep = "Leave it as it is", danger = false, reasons, typed, command } = more;
  const [reason, setReason] = useState("");
  const [name, setName] = useState("");
  const missing = (reasons && !reason.trim()) || (typed !== undefined && !isTyped(name, typed));
  return (
    <Dialog title={title} onClose={onClose} size={reasons ? "lg" : "md"}>
      <Stack gap="md">
        <Text component="div" className="cut">
          {words}
        </Text>
        {children}
        {reasons && <Reason value={reason} onChange={setReason} reasons={reasons} focused={typed === undefined} />}
        {typed !== undefined && (
          <TextInput
            label={`Type ${typed} to confirm`}
            description="It cannot be taken back by a click."
            required
            autoComplete="off"
            spellCheck={false}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
        )}
        {command && (
          <Text size="sm" c="dimmed" className="cut">
            As a command: <Command>{command(quoted(reason.trim() || "…"))}</Command>
          </Text>
        )}
        <Ends
          act={act}
          keep={keep}
          danger={danger || typed !== undefined}
          missing={missing}
          careful={typed !== undefined || !reasons}
          onAct={() => onAct(reason.trim())}
          onClose={onClose}
        />
      </Stack>
    </Dialog>
  );
}
