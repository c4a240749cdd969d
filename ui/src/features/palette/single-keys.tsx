/** Whether keys pressed alone do something: kept in this browser. Speech turns words into keys, and a tremor hits some that nobody meant. */
import { Switch } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";

export function useSingleKeys() {
  return useLocalStorage({ key: "single-keys", defaultValue: true, getInitialValueInEffect: false });
}

export function SingleKeys() {
  const [on, setOn] = useSingleKeys();
  return (
    <Switch
      label="Keys pressed alone do something"
      description="Off: only keys held together with Ctrl or ⌘ do. This browser remembers it."
      checked={on}
      onChange={(event) => setOn(event.currentTarget.checked)}
    />
  );
}
