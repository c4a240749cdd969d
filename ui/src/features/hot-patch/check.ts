/** What the server would say to the draft: a dry run, once nothing was typed for a moment. Who may not change anything may still ask what the schema says. */
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { http, type Problem, type Schemas } from "../../api/client";
import type { Wrong } from "../../components/code/editor";
import { bodyOf, type Draft } from "./draft";

export interface Check {
  wrong: Wrong[];
  problem: unknown;
  plan: Schemas["ConfigPatchView"] | null;
  pending: boolean;
}

export function useCheck(agent: string, draft: Draft, may: string, wanted: boolean): Check {
  const { updates, base, options } = draft;
  const body = useMemo(() => bodyOf({ updates, base, options }), [updates, base, options]);
  const [sent] = useDebouncedValue(body, 300);
  const enabled =
    wanted && draft.dirty && !draft.unreadable.length && Object.keys(sent.config_updates ?? {}).length > 0;
  const found = useQuery({
    queryKey: ["hot patch", agent, Boolean(may), sent],
    enabled,
    retry: 0,
    gcTime: 0,
    queryFn: async ({ signal }) => {
      const params = { path: { agent_id: agent } };
      const { data, error } = may
        ? await http.POST("/api/platform/agents/{agent_id}/config/validate", {
            params,
            signal,
            body: { config_updates: sent.config_updates ?? {} },
          })
        : await http.PATCH("/api/platform/agents/{agent_id}/config", {
            params,
            signal,
            body: { ...sent, dry_run: true, reason: "check" } as Schemas["ConfigPatchBody"],
          });
      if (error) throw error;
      return data as Schemas["ConfigPatchView"];
    },
  });
  const problem = enabled ? (found.error as Problem | null) : null;
  const errors = problem?.errors?.length
    ? problem.errors
    : problem
      ? [{ path: "", message: problem.detail ?? "The server cannot be reached." }]
      : [];
  return {
    wrong: errors,
    problem,
    plan: enabled ? (found.data ?? null) : null,
    pending: enabled && (found.isPending || sent !== body),
  };
}
