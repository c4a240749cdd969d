/** One connection for the whole page. An event makes whatever it concerns be asked for again; while there is no connection, everything is asked for every few seconds. */
import { type Query, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState, useSyncExternalStore } from "react";
import { type LinkState, Live, type LiveEvent } from "../api/live";
import { others, refresher } from "./refresh";
import { useSession } from "./session";
import { Settler } from "./settle";
import { lookForNewer } from "./version";

const LiveContext = createContext<Live | null>(null);

/** Figures that come every second are drawn by whoever listens; nothing else has to be asked for because of them. */
const TICKS = new Set(["metrics_update", "heartbeat", "pong"]);
const AWAY_MS = 5000;

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
    const shown = refresher(queries);
    const settler = new Settler(shown.refresh);
    const stop = live.subscribe((event) => {
      if (TICKS.has(event.event)) return;
      if (event.back) void lookForNewer();
      settler.heard(event.agent_id);
    });
    live.start();
    window.addEventListener("online", live.retry);
    return () => {
      window.removeEventListener("online", live.retry);
      settler.stop();
      stop();
      shown.stop();
      live.stop();
    };
  }, [live, queries]);
  // Who signs in again does not wait for the next attempt.
  const session = useSession().me.csrf_token;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new session is the reason to try again
  useEffect(() => live.retry(), [live, session]);
  return (
    <LiveContext.Provider value={live}>
      <Away />
      {children}
    </LiveContext.Provider>
  );
}

/** Without a connection, what does not ask by itself is asked for as well. Slow answers are waited for. */
function Away() {
  const queries = useQueryClient();
  const link = useLinkState();
  const away = link === "reconnecting" || link === "offline";
  useEffect(() => {
    if (!away) return;
    const quiet = (query: Query) => others(query) && query.observers.every((each) => !each.options.refetchInterval);
    const timer = window.setInterval(() => {
      void queries.refetchQueries({ type: "active", predicate: quiet }, { cancelRefetch: false });
    }, AWAY_MS);
    return () => window.clearInterval(timer);
  }, [queries, away]);
  return null;
}
