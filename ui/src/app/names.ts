/** The names of all agents, for what offers one of them to choose: one small request, however many there are. */
import { api } from "../api/client";

/** How many a list that is typed into shows at once. */
export const OFFERED = 50;

const NONE: string[] = [];

export function useNames(): string[] {
  const names = api.useQuery("get", "/api/platform/fleet/names", {}, { staleTime: 60_000 });
  return names.data?.agents ?? NONE;
}
