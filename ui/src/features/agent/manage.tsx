/** What is rarely done with an agent: keep others off it, take a lock over, restart it, remove it. */
import { Button, Group, Menu, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { usePolling } from "../../app/polling";
import { useMay, useSession } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { absolute } from "../../lib/format";

type Act = "lock" | "unlock" | "take" | "restart" | "remove";
type Lock = NonNullable<Schemas["LockState"]["lock"]>;

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

/** Who keeps others off, why and until when; absent when nobody does. */
export function LockBanner({ agent, lock }: { agent: string; lock: Lock }) {
  const { me } = useSession();
  const operator = useMay("operator", agent);
  const admin = useMay("admin", agent);
  const [acting, setActing] = useState<Act | null>(null);
  const own = lock.holder === me.name;
  return (
    <section className="panel panel-body" aria-label="Lock">
      <Group justify="space-between" gap="sm">
        <div>
          <Status tone="warn">{own ? "Locked by you" : `Locked by ${lock.holder}`}</Status>
          <Text size="sm" component="div" className="cut">
            {lock.reason}. Since <Time at={lock.since} />, until {absolute(lock.expires_at)}. Others begin nothing
            meanwhile; rollbacks pass.
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
      {acting && <Sure act={acting} agent={agent} lock={lock} version={null} onClose={() => setActing(null)} />}
    </section>
  );
}

export function More({ agent, lock }: { agent: Schemas["AgentDetail"]; lock: Lock | null }) {
  const { me } = useSession();
  const operator = useMay("operator", agent.agent_id);
  const admin = useMay("admin", agent.agent_id);
  const [acting, setActing] = useState<Act | null>(null);
  const anothers = lock && lock.holder !== me.name ? `${lock.holder} has it locked.` : "";
  const going = agent.status === "removing" ? "It is being removed." : "";
  return (
    <>
      <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
        <Menu.Target>
          <Button variant="default">More</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {lock && !anothers ? (
            <Entry why={operator || going} onAct={() => setActing("unlock")}>
              Unlock it
            </Entry>
          ) : (
            <Entry why={operator || going || anothers} onAct={() => setActing("lock")}>
              Lock it for others
            </Entry>
          )}
          <Entry
            why={operator || going || anothers || (agent.current_version ? "" : "Nothing serves yet.")}
            onAct={() => setActing("restart")}
          >
            Restart without a gap
          </Entry>
          <Menu.Divider role="separator" />
          <Entry why={admin || going || anothers} danger onAct={() => setActing("remove")}>
            Remove the agent
          </Entry>
        </Menu.Dropdown>
      </Menu>
      {acting && (
        <Sure
          act={acting}
          agent={agent.agent_id}
          lock={lock}
          version={agent.current_version}
          onClose={() => setActing(null)}
        />
      )}
    </>
  );
}

/** An entry that cannot be chosen stays and says why. */
function Entry({
  why,
  danger = false,
  onAct,
  children,
}: {
  why: string;
  danger?: boolean;
  onAct: () => void;
  children: string;
}) {
  return (
    <Menu.Item
      aria-disabled={why ? true : undefined}
      closeMenuOnClick={!why}
      onClick={why ? undefined : onAct}
      className={!why && danger ? "tone-bad" : undefined}
    >
      {children}
      {why && (
        <Text size="sm" c="dimmed" maw={260}>
          {why}
        </Text>
      )}
    </Menu.Item>
  );
}

interface SureProps {
  act: Act;
  agent: string;
  lock: Lock | null;
  version: string | null;
  onClose: () => void;
}

function Sure({ act, agent, lock, version, onClose }: SureProps) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const params = { path: { agent_id: agent } };
  const seen = version ? { if_version: version } : {};
  const then = async ({ error }: { error?: unknown }) => {
    await queries.invalidateQueries();
    return { error };
  };
  const lockIt = async (reason: string) =>
    http.POST("/api/platform/agents/{agent_id}/lock", { params, body: { reason } as never });
  const unlock = async (reason: string) =>
    http.DELETE("/api/platform/agents/{agent_id}/lock", { params: { ...params, query: { reason } } });
  const asked = {
    lock: {
      title: `Lock ${agent}`,
      words: "For four hours nobody else begins or steers anything there. What runs goes on, and rollbacks pass.",
      act: "Lock it",
      reasons: ["Working on it by hand", "Incident", "Wait for me"],
      command: (reason: string) => `servicing lock ${agent} --reason ${reason}`,
      onAct: async (reason: string) => then(await lockIt(reason)),
    },
    unlock: {
      title: `Unlock ${agent}`,
      words: "What waited for it may begin.",
      act: "Unlock it",
      reasons: ["Done", "Not needed any more"],
      command: (reason: string) => `servicing unlock ${agent} --reason ${reason}`,
      onAct: async (reason: string) => then(await unlock(reason)),
    },
    take: {
      title: `Take ${agent} over`,
      words: `The lock of ${lock?.holder ?? "somebody else"} ends, and you hold it for four hours. Its reason was: ${lock?.reason ?? ""}`,
      act: "Take it over",
      typed: agent,
      reasons: ["Incident", "Its holder cannot be reached", "Agreed with its holder"],
      command: (reason: string) => `servicing unlock ${agent} --reason ${reason}`,
      onAct: async (reason: string) => {
        const ended = await unlock(reason);
        return then(ended.error ? ended : await lockIt(reason));
      },
    },
    restart: {
      title: `Restart ${agent}`,
      words: `Every instance is replaced by a new one of ${version ?? "the same version"}, without a gap.`,
      act: "Restart it",
      reasons: ["Memory", "Stuck", "Planned"],
      command: (reason: string) => `servicing agent restart ${agent} --reason ${reason}`,
      onAct: async (reason: string) => {
        const { data, error } = await http.POST("/api/platform/agents/{agent_id}/restart", {
          params,
          body: { reason, ...seen } as never,
        });
        if (data)
          await navigate({
            to: "/agents/$agentId/deployments/$upgradeId",
            params: { agentId: agent, upgradeId: data.upgrade_id },
          });
        return { error };
      },
    },
    remove: {
      title: `Remove ${agent}`,
      words:
        "Its instances finish what is open and end, nobody is sent there any more, and the agent is forgotten with its configuration and schedule. Its history stays in the audit.",
      act: "Remove it",
      typed: agent,
      reasons: ["Not needed any more", "Replaced by another"],
      command: (reason: string) => `servicing agent remove ${agent} --reason ${reason}`,
      onAct: async (reason: string) => {
        const { error } = await http.DELETE("/api/platform/agents/{agent_id}", {
          params: { ...params, query: { reason, ...seen } },
        });
        if (!error) {
          notifications.show({ message: `${agent} is being removed.` });
          await navigate({ to: "/agents" });
        }
        return { error };
      },
    },
  }[act];
  return <Confirm {...asked} onClose={onClose} />;
}
