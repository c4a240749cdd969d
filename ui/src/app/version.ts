/** Whether the server has another page by now than the one in this tab. The first page names its files by their content, so that it can be told from its text. */
import { useSyncExternalStore } from "react";

const entry = document.querySelector<HTMLScriptElement>('script[type="module"][src]')?.getAttribute("src") ?? "";
const listeners = new Set<() => void>();
let replaced = false;

/** Asked when a connection came back: a server that was upgraded had to end it. What cannot be asked now is asked then. */
export async function lookForNewer(): Promise<void> {
  const answer = await fetch("/", { cache: "no-store" }).catch(() => null);
  if (!answer?.ok || replaced || !entry) return;
  replaced = !(await answer.text()).includes(entry);
  if (replaced) for (const listener of listeners) listener();
}

export function useReplaced(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => replaced,
  );
}
