/** One connection for the whole page. An event makes whatever it concerns be asked for again; while there is no connection, everything is asked for every few seconds. */
import { type Query, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState, useSyncExternalStore } from "react";
import { type LinkState, Live, type LiveEvent } from "../api/live";
import { concerns, Settler } from "./settle";

const LiveContext = createContext<Live | null>(null);

/** Figures that come every second are drawn by whoever listens; nothing else has to be asked for because of them. */
const TICKS = new Set(["metrics_update", "heartbeat", "pong"]);

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
    const settler = new Settler((of) => {
      const concerned = (query: Query) => concerns(query.queryKey, of);
      const idle = (query: Query) => query.state.fetchStatus === "idle" && concerned(query);
      const busy = queries.isFetching({ predicate: concerned }) > 0;
      void queries.invalidateQueries({ predicate: idle });
      return !busy;
    });
    const stop = live.subscribe((event) => {
      if (!TICKS.has(event.event)) settler.heard(event.agent_id);
    });
    live.start();
    return () => {
      settler.stop();
      stop();
      live.stop();
    };
  }, [live, queries]);
  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>;
}
