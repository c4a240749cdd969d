/** What is rarely done with an agent: keep others off it, restart it, remove it. */
import { Button, Menu, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Confirm } from "../../components/confirm";
import { type LockAct, LockDialog, useLock, useLockedOut } from "./lock";

type Act = "restart" | "remove";

export function More({ agent }: { agent: Schemas["AgentDetail"] }) {
  const lock = useLock(agent.agent_id);
  const anothers = useLockedOut(agent.agent_id);
  const operator = useMay("operator", agent.agent_id);
  const admin = useMay("admin", agent.agent_id);
  const [acting, setActing] = useState<Act | null>(null);
  const [locking, setLocking] = useState<LockAct | null>(null);
  const going = agent.status === "removing" ? "It is being removed." : "";
  return (
    <>
      <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
        <Menu.Target>
          <Button variant="default">More</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {lock && !anothers ? (
            <Entry why={operator || going} onAct={() => setLocking("unlock")}>
              Unlock it
            </Entry>
          ) : (
            <Entry why={operator || going || anothers} onAct={() => setLocking("lock")}>
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
      {locking && <LockDialog act={locking} agent={agent.agent_id} onClose={() => setLocking(null)} />}
      {acting && (
        <Sure act={acting} agent={agent.agent_id} version={agent.current_version} onClose={() => setActing(null)} />
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
  version: string | null;
  onClose: () => void;
}

function Sure({ act, agent, version, onClose }: SureProps) {
  const navigate = useNavigate();
  const params = { path: { agent_id: agent } };
  const seen = version ? { if_version: version } : {};
  const asked = {
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
