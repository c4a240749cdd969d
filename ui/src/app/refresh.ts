/** An event says that something changed: whatever is shown and may have changed is asked for anew. */
import type { Query, QueryClient } from "@tanstack/react-query";
import { type Concern, concerns } from "./settle";

/** Who one is does not change by events. */
export const others = (query: Query): boolean => query.queryKey[0] !== "me";

/**
 * What is being asked for already may be older than the event: it is asked for once more when it has come. It is never broken off, or a slow server
 * that tells of much would never be heard.
 */
export function refresher(queries: QueryClient): { refresh: (of: Concern) => void; stop: () => void } {
  const cache = queries.getQueryCache();
  const later = new Set<string>();
  const ask = ({ queryKey }: Query) =>
    void queries.invalidateQueries({ queryKey, exact: true }, { cancelRefetch: false });
  const stop = cache.subscribe(({ query }) => {
    if (query.state.fetchStatus === "idle" && later.delete(query.queryHash)) ask(query);
  });
  const refresh = (of: Concern) => {
    for (const query of cache.findAll({ predicate: (each) => concerns(each.queryKey, of) })) {
      if (query.state.fetchStatus === "idle") ask(query);
      else later.add(query.queryHash);
    }
  };
  return { refresh, stop };
}
