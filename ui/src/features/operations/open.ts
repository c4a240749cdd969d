/** What is open: under way, waiting, or to begin at its time. The head of every page and the dashboard ask the same question, which is one request. */
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";

/** The newest; the counts that come along are of all. */
const SHOWN = 20;

export function useOpen() {
  const refetchInterval = usePolling();
  return api.useQuery(
    "get",
    "/api/platform/deployments",
    { params: { query: { limit: SHOWN, state: "open" } } },
    { refetchInterval },
  );
}
