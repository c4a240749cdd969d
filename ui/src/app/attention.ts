/** Which agents need somebody. The dashboard lists them, and the sign of the tab has a dot while there is one: the same question, one request. */
import { useEffect } from "react";
import { api } from "../api/client";
import dotted from "./favicon-attention.svg?url&no-inline";
import { usePolling } from "./polling";

const URGENT = 6;

export function useAttention() {
  const refetchInterval = usePolling();
  return api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: URGENT, attention: true, sort: "health" } } },
    { refetchInterval },
  );
}

export function useSign(): void {
  const needed = (useAttention().data?.total ?? 0) > 0;
  useEffect(() => {
    const sign = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    if (sign) sign.href = needed ? dotted : "/favicon.svg";
  }, [needed]);
}
