/** A moment as people say it, the exact one in its tooltip: the browser's own, which costs nothing in lists of many. All of a page move on together, once in ten seconds. */
import { useSyncExternalStore } from "react";
import { absolute, ago, since } from "../lib/format";

const EVERY_MS = 10_000;
const listeners = new Set<() => void>();
let now = Date.now();
window.setInterval(() => {
  now = Date.now();
  for (const listener of listeners) listener();
}, EVERY_MS);

export function useNow(): number {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => now,
  );
}

export function Time({ at }: { at: string | null | undefined }) {
  const moment = useNow();
  if (!at) return <>–</>;
  return (
    // Where what happens is read out, how long ago it was is not read out again and again.
    <time dateTime={at} title={absolute(at)} aria-live="off">
      {ago(at, since(at, Math.max(moment, Date.now() - EVERY_MS), Date.now()))}
    </time>
  );
}
