/** How often to ask when nobody tells: figures of a deployment each second, everything else while the connection is away. */
import { useLinkState } from "./live";

export function usePolling(liveMs: number | false = false): number | false {
  const link = useLinkState();
  return link === "live" || link === "delayed" ? liveMs : 5000;
}
