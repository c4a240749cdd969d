/** An operator's lock: who keeps others off an agent, why, since and until when; how one takes it, ends it, or takes it over. */
import { Group, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay, useSession } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { absolute } from "../../lib/format";

type Lock = NonNullable<Schemas["LockState"]["lock"]>;
export type LockAct = "lock" | "unlock" | "take";

export function useLock(agent: string): Lock | null {
  const refetchInterval = usePolling();
  const lock = api.useQuery(
    "get",
    "/api/platform/agents/{agent_id}/lock",
    { params: { path: { agent_id: agent } } },
    { refetchInterval },
  );
  return lock.data?.lock ?? null;
}

/** Why what only the holder may do is not for whoever looks; empty where it is. */
export function useLockedOut(agent: string): string {
  const { me } = useSession();
  const lock = useLock(agent);
  return lock && lock.holder !== me.name ? `${lock.holder} has it locked.` : "";
}

/** Absent when nobody holds a lock. `meanwhile`: what that means where it is shown. */
export function LockBanner({ agent, meanwhile }: { agent: string; meanwhile: string }) {
  const { me } = useSession();
  const operator = useMay("operator", agent);
  const admin = useMay("admin", agent);
  const lock = useLock(agent);
  const [acting, setActing] = useState<LockAct | null>(null);
  if (!lock) return null;
  const own = lock.holder === me.name;
  return (
    <section className="panel panel-body" aria-label="Lock">
      <Group justify="space-between" gap="sm">
        <div>
          <Status tone="warn">{own ? "Locked by you" : `Locked by ${lock.holder}`}</Status>
          <Text size="sm" component="div" className="cut">
            {lock.reason}. Since <Time at={lock.since} />, until {absolute(lock.expires_at)}. {meanwhile}
          </Text>
        </div>
        {own ? (
          <Action size="compact-md" variant="default" why={operator} onAct={() => setActing("unlock")}>
            Unlock
          </Action>
        ) : (
          <Action size="compact-md" variant="default" why={admin} onAct={() => setActing("take")}>
            Take it over
          </Action>
        )}
      </Group>
      {acting && <LockDialog act={acting} agent={agent} onClose={() => setActing(null)} />}
    </section>
  );
}

export function LockDialog({ act, agent, onClose }: { act: LockAct; agent: string; onClose: () => void }) {
  const queries = useQueryClient();
  const lock = useLock(agent);
  const holder = lock?.holder;
  const params = { path: { agent_id: agent } };
  const then = async ({ error }: { error?: unknown }) => {
    await queries.invalidateQueries();
    return { error };
  };
  const lockIt = async (reason: string, from?: string) =>
    then(
      await http.POST("/api/platform/agents/{agent_id}/lock", {
        params,
        body: { reason, take_over_from: from } as never,
      }),
    );
  const asked = {
    lock: {
      title: `Lock ${agent}`,
      words: "For four hours nobody else begins or steers anything there. What runs goes on, and rollbacks pass.",
      act: "Lock it",
      reasons: ["Working on it by hand", "Incident", "Wait for me"],
      command: (reason: string) => `servicing lock ${agent} --reason ${reason}`,
      onAct: (reason: string) => lockIt(reason),
    },
    unlock: {
      title: `Unlock ${agent}`,
      words: "What waited for it may begin.",
      act: "Unlock it",
      reasons: ["Done", "Not needed any more"],
      command: (reason: string) => `servicing unlock ${agent} --reason ${reason}`,
      onAct: async (reason: string) =>
        then(await http.DELETE("/api/platform/agents/{agent_id}/lock", { params: { ...params, query: { reason } } })),
    },
    take: {
      title: `Take ${agent} over`,
      words: `The lock of ${holder ?? "somebody else"} ends, and you hold it for four hours. Its reason was: ${lock?.reason ?? ""}`,
      act: "Take it over",
      typed: agent,
      reasons: ["Incident", "Its holder cannot be reached", "Agreed with its holder"],
      command: (reason: string) => `servicing lock ${agent} --take-over-from ${holder} --reason ${reason}`,
      onAct: (reason: string) => lockIt(reason, holder),
    },
  }[act];
  return <Confirm {...asked} onClose={onClose} />;
}
