/** What is open: under way, waiting, or to begin at its time. The head of every page and the dashboard ask the same question, which is one request. */
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";

/** The newest; the counts that come along are of all. */
const SHOWN = 20;

/** As many as one answer holds. */
const MOST = 200;
const NONE = { open: 0, running: 0, waiting: 0, upcoming: 0 };

/** All of them: asked for at once where the head's answer lacks some, or the next to begin might be the wrong ones. */
export function useAllOpen() {
  const newest = useOpen();
  const refetchInterval = usePolling();
  const counts = newest.data?.counts ?? NONE;
  const lacking = counts.open > SHOWN;
  const rest = api.useQuery(
    "get",
    "/api/platform/deployments",
    { params: { query: { limit: MOST, state: "open" } } },
    { refetchInterval, enabled: lacking },
  );
  return { all: (lacking && rest.data?.upgrades) || (newest.data?.upgrades ?? []), counts };
}

export function useOpen() {
  const refetchInterval = usePolling();
  return api.useQuery(
    "get",
    "/api/platform/deployments",
    { params: { query: { limit: SHOWN, state: "open" } } },
    { refetchInterval },
  );
}
