/** In place of the verbs, once a deployment has ended: the one that still makes sense, if any. */
import { Group } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { api, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { afterwards } from "./afterwards";

interface Props {
  deployment: Schemas["DeploymentView"];
  onRollback: () => void;
}

export function Ended({ deployment, onRollback }: Props) {
  const { agent_id: agentId } = deployment;
  const navigate = useNavigate();
  const may = useMay("operator", agentId);
  const agent = api.useQuery("get", "/api/platform/agents/{agent_id}", { params: { path: { agent_id: agentId } } });
  const left = agent.data ? afterwards(deployment, agent.data.current_version) : null;
  if (!left) return null;
  return (
    <Group className="verbs" role="group" aria-label="What can be done now">
      {left.verb === "back" ? (
        <Action why={may} variant="default" onAct={onRollback}>
          Roll back
        </Action>
      ) : (
        <Action
          variant="default"
          onAct={() =>
            void navigate({ to: "/agents/$agentId/upgrade", params: { agentId }, search: { version: left.version } })
          }
        >
          Upgrade to {left.version} again
        </Action>
      )}
    </Group>
  );
}
