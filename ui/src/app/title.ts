/** The tab tells what is going on. */
import { useEffect } from "react";

export function useTitle(...parts: (string | null | undefined)[]): void {
  const title = [...parts.filter(Boolean), "Agent Servicing"].join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}
