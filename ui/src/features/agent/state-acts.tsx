/** What can be done with an agent's state, asked before it is done: putting back and discarding lose something, so they want the agent's name. */
import { List, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useNavigate } from "@tanstack/react-router";
import { api, http, type Schemas } from "../../api/client";
import { Confirm } from "../../components/confirm";
import { Asked } from "../../components/panel";
import { count } from "../../lib/format";

type Snapshot = Schemas["SnapshotView"];
export type StateAct =
  | { verb: "take" }
  | { verb: "unpack" | "bring" | "restore" | "remove"; copy: Snapshot }
  | { verb: "offer" | "discard"; left: Schemas["SetAsideView"] };

interface Props {
  act: StateAct;
  state: Schemas["StateView"];
  onTaken: (snapshot: string) => void;
  onClose: () => void;
}

const REASONS = ["Before a risky change", "To look into it", "Disk space", "Planned"];

export function Asking({ act, state, onTaken, onClose }: Props) {
  const agent = state.agent_id;
  const path = { agent_id: agent };
  const say = (message: string) => notifications.show({ message });
  const shared = { reasons: REASONS, onClose };
  switch (act.verb) {
    case "take":
      return (
        <Confirm
          {...shared}
          title={`Take a snapshot of ${agent}`}
          words="Its state is copied while it goes on serving. The copy stays until somebody removes it; at most ten of them."
          act="Take it"
          command={(reason) => `servicing state snapshot ${agent} --reason ${reason}`}
          onAct={async (reason) => {
            const { data, error } = await http.POST("/api/platform/agents/{agent_id}/state/snapshots", {
              params: { path },
              body: { reason },
            });
            if (data) onTaken(data.snapshot);
            return { error };
          }}
        />
      );
    case "unpack":
      return (
        <Confirm
          {...shared}
          title={`Unpack ${act.copy.snapshot}`}
          words="It is restored into a folder of the server beside the state, which stays as it is. The agent does not use that folder, and nobody but you removes it."
          act="Unpack it"
          command={(reason) => `servicing state unpack ${agent} ${act.copy.snapshot} --reason ${reason}`}
          onAct={async (reason) => {
            const { data, error } = await http.POST(
              "/api/platform/agents/{agent_id}/state/snapshots/{snapshot}/unpack",
              { params: { path: { ...path, snapshot: act.copy.snapshot }, query: { reason } } },
            );
            if (data) notifications.show({ message: `It is in ${data.folder}.`, autoClose: false });
            return { error };
          }}
        />
      );
    case "bring":
      return (
        <Confirm
          {...shared}
          title={`Offer what was exported for ${act.copy.snapshot}`}
          words={`${state.version ?? "The version that serves"} is offered everything that the agent itself had exported; it takes in what it can use, beside what it has.`}
          act="Offer it"
          command={(reason) => `servicing state bring ${agent} ${act.copy.snapshot} --reason ${reason}`}
          onAct={async (reason) => {
            const { data, error } = await http.POST(
              "/api/platform/agents/{agent_id}/state/snapshots/{snapshot}/bring",
              {
                params: { path: { ...path, snapshot: act.copy.snapshot } },
                body: { reason },
              },
            );
            if (data) say(`${count(data.taken)} records taken in, ${count(data.refused)} refused.`);
            return { error };
          }}
        />
      );
    case "remove":
      return (
        <Confirm
          {...shared}
          danger
          title={`Remove ${act.copy.snapshot}`}
          words="For good. A rollback can then not put it back any more; other snapshots are not concerned."
          act="Remove it"
          command={(reason) => `servicing state remove ${agent} ${act.copy.snapshot} --reason ${reason}`}
          onAct={(reason) =>
            http.DELETE("/api/platform/agents/{agent_id}/state/snapshots/{snapshot}", {
              params: { path: { ...path, snapshot: act.copy.snapshot }, query: { reason } },
            })
          }
        />
      );
    case "restore":
      return <Restore agent={agent} version={state.version ?? ""} copy={act.copy} onClose={onClose} />;
    case "offer":
      return (
        <Confirm
          {...shared}
          title={`Offer number ${act.left.epoch} again`}
          words={`${count(act.left.set_aside)} records that ${act.left.version} wrote are offered to ${state.version ?? "the version that serves"}. What it takes in is not offered again; what it refuses stays here.`}
          act="Offer them"
          command={(reason) => `servicing state offer ${agent} ${act.left.epoch} --reason ${reason}`}
          onAct={async (reason) => {
            const { data, error } = await http.POST("/api/platform/agents/{agent_id}/state/set-aside/{epoch}/offer", {
              params: { path: { ...path, epoch: act.left.epoch }, query: { reason } },
            });
            if (data) say(`${data.detail}.`);
            return { error };
          }}
        />
      );
    case "discard":
      return (
        <Confirm
          {...shared}
          typed={agent}
          title={`Discard number ${act.left.epoch}`}
          words={`${count(act.left.set_aside)} records that nobody took in are dropped for good. The folder that they were written to stays on the server's disk.`}
          act="Discard them"
          reasons={["Looked through, nothing of value", "Kept elsewhere"]}
          command={(reason) => `servicing state discard ${agent} ${act.left.epoch} --reason ${reason}`}
          onAct={(reason) =>
            http.DELETE("/api/platform/agents/{agent_id}/state/set-aside/{epoch}", {
              params: { path: { ...path, epoch: act.left.epoch } },
              body: { reason },
            })
          }
        />
      );
  }
}

/** The same as a rollback to the version that serves; what it would cost is counted before the click. */
function Restore({
  agent,
  version,
  copy,
  onClose,
}: {
  agent: string;
  version: string;
  copy: Snapshot;
  onClose: () => void;
}) {
  const navigate = useNavigate();
  const body = (more: object) =>
    ({ target_version: version, state: "restore", snapshot: copy.snapshot, ...more }) as Schemas["RollbackBody"];
  const params = { path: { agent_id: agent } };
  const plan = api.useQuery(
    "post",
    "/api/platform/agents/{agent_id}/rollback",
    { params, body: body({ reason: "plan", dry_run: true }) },
    { retry: 0, select: (data) => data as unknown as Schemas["RollbackPlanView"] },
  );
  const choice = plan.data?.choices.find((each) => each.state === "restore");
  return (
    <Confirm
      typed={agent}
      title={`Put ${copy.snapshot} back`}
      words={`New instances of ${version} get the snapshot, all traffic and every conversation moves to them, and the others leave: no gap. What was written since is offered to ${version}; what it does not take in is set aside.`}
      act="Put it back"
      reasons={["Wrong answers", "Lost memories", "Damaged data"]}
      command={(reason) => `servicing state restore ${agent} ${copy.snapshot} --reason ${reason} --watch`}
      onAct={async (reason) => {
        const { data, error } = await http.POST("/api/platform/agents/{agent_id}/rollback", {
          params,
          body: body({ reason, if_version: version }),
        });
        if (data)
          await navigate({
            to: "/agents/$agentId/deployments/$upgradeId",
            params: { agentId: agent, upgradeId: (data as Schemas["DeploymentView"]).upgrade_id },
          });
        return { error };
      }}
      onClose={onClose}
    >
      <Asked question={plan} lines={2}>
        {plan.data && (
          <Stack gap="xs">
            <Text className="cut">
              Written since: {plan.data.written ? `${count(plan.data.written.records)} records` : "not counted"}
              {choice ? `; ${count(choice.set_aside)} of them would be set aside.` : "."}
            </Text>
            {choice && !choice.possible && <Text className="tone-bad cut">{choice.sentence}</Text>}
            <List size="sm" spacing={2}>
              {plan.data.stages.map((stage) => (
                <List.Item key={stage.stage}>{stage.sentence}</List.Item>
              ))}
            </List>
          </Stack>
        )}
      </Asked>
    </Confirm>
  );
}
