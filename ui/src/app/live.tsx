/** One connection for the whole page. An event makes whatever it concerns be asked for again; while there is no connection, everything is asked for every few seconds. */
import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState, useSyncExternalStore } from "react";
import { type LinkState, Live, type LiveEvent } from "../api/live";

const LiveContext = createContext<Live | null>(null);

/** Figures that come every second are drawn by whoever listens; nothing else has to be asked for because of them. */
const TICKS = new Set(["metrics_update", "heartbeat", "pong"]);
const SETTLE_MS = 150;

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("there is no connection here");
  return live;
}

export function useLinkState(): LinkState {
  const live = useLive();
  return useSyncExternalStore(
    (listener) => live.watchState(listener),
    () => live.state,
  );
}

export function useEvents(listener: (event: LiveEvent) => void): void {
  const live = useLive();
  useEffect(() => live.subscribe(listener), [live, listener]);
}

export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [live] = useState(
    () =>
      new Live(`${window.location.protocol === "https:" ? "wss" : "ws"}://${window.location.host}/ws/agent-upgrades`),
  );
  useEffect(() => {
    let timer: number | undefined;
    // Several events come at one moment; asking once for all of them is enough.
    const stop = live.subscribe((event) => {
      if (TICKS.has(event.event)) return;
      window.clearTimeout(timer);
      timer = window.setTimeout(() => {
        void queries.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "me" });
      }, SETTLE_MS);
    });
    live.start();
    return () => {
      window.clearTimeout(timer);
      stop();
      live.stop();
    };
  }, [live, queries]);
  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>;
}
