/** Everywhere one can go, found by typing: pages, agents, what can be done with each. And which keys do what. Loaded when first asked for. */
import { Group, Stack, Table, Text, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useState } from "react";
import { useNames } from "../../app/names";
import { Dialog } from "../../components/dialog";
import { matching } from "./match";
import { SingleKeys } from "./single-keys";

interface Goal {
  label: string;
  go: () => void;
}
const MOST = 12;

export function Palette({ onHelp, onClose }: { onHelp: () => void; onClose: () => void }) {
  const navigate = useNavigate();
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const names = useNames();
  const goals: Goal[] = [
    { label: "Dashboard", go: () => void navigate({ to: "/" }) },
    { label: "Agents", go: () => void navigate({ to: "/agents" }) },
    { label: "Deployments and schedule", go: () => void navigate({ to: "/deployments" }) },
    { label: "Audit", go: () => void navigate({ to: "/audit" }) },
    { label: "Settings", go: () => void navigate({ to: "/settings" }) },
    { label: "Keys", go: onHelp },
    ...names.flatMap((agent) => {
      const params = { agentId: agent };
      return [
        { label: agent, go: () => void navigate({ to: "/agents/$agentId", params }) },
        {
          label: `${agent}: upgrade`,
          go: () => void navigate({ to: "/agents/$agentId/upgrade", params }),
        },
        {
          label: `${agent}: roll back`,
          go: () => void navigate({ to: "/agents/$agentId", params, search: { rollback: "open" } }),
        },
        {
          label: `${agent}: hot patch`,
          go: () => void navigate({ to: "/agents/$agentId/hot-patch", params }),
        },
        {
          label: `${agent}: configuration`,
          go: () => void navigate({ to: "/agents/$agentId", params, search: { tab: "config" } }),
        },
      ];
    }),
  ];
  const found = goals.filter((goal) => matching(words, goal.label)).slice(0, MOST);
  const chosen = Math.min(at, found.length - 1);
  const go = (goal: Goal | undefined) => {
    if (!goal) return;
    onClose();
    goal.go();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setAt(Math.min(chosen + 1, found.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(chosen - 1, 0));
    else if (event.key === "Enter") go(found[chosen]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Go to" onClose={onClose} size="md">
      <Stack gap="sm">
        <TextInput
          label="A page, an agent, or what to do with it"
          data-autofocus
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={found.length ? `palette-${chosen}` : undefined}
          autoComplete="off"
          value={words}
          onKeyDown={onKeyDown}
          onChange={(event) => {
            setWords(event.currentTarget.value);
            setAt(0);
          }}
        />
        <div role="listbox" id="palette-list" aria-label="What was found">
          {found.map((goal, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field above takes the keys
            // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the field, which names the chosen one
            <div
              key={goal.label}
              id={`palette-${index}`}
              role="option"
              aria-selected={index === chosen}
              className="option"
              onClick={() => go(goal)}
            >
              {goal.label}
            </div>
          ))}
        </div>
        {found.length === 0 && <Text role="status">Nothing is called like that.</Text>}
      </Stack>
    </Dialog>
  );
}

const KEYS = [
  ["Ctrl K or ⌘ K", "Go to a page or an agent, or to this list"],
  ["?", "This list, unless keys pressed alone are off"],
  ["Esc", "Close what is open"],
  ["Tab, Shift Tab", "To the next or the former control"],
  ["← →", "Between tabs"],
  ["↑ ↓, Enter", "Choose in a list"],
] as const;

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose} size="md">
      <Table aria-label="Keys">
        <Table.Tbody>
          {KEYS.map(([key, words]) => (
            <Table.Tr key={key}>
              <Table.Th scope="row">
                <kbd>{key}</kbd>
              </Table.Th>
              <Table.Td>{words}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Group mt="md">
        <SingleKeys />
      </Group>
    </Dialog>
  );
}
