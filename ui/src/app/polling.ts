/** How often to ask while events tell what changed (a page that is open is not idle), and how often when the connection is away. */
import { useLinkState } from "./live";

export function usePolling(liveMs = 60_000): number {
  const link = useLinkState();
  return link === "live" || link === "delayed" ? liveMs : 5000;
}
