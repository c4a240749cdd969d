/** Brings the content of an earlier revision back, by a reason; without one, what is under way is taken back. */
import { useQueryClient } from "@tanstack/react-query";
import { http } from "../../api/client";
import { Confirm } from "../../components/confirm";

export function TakeBack({ agent, target, onClose }: { agent: string; target?: string; onClose: () => void }) {
  const queries = useQueryClient();
  return (
    <Confirm
      title={target ? `Bring ${target} back` : `Take back what ${agent} is getting`}
      words={
        target
          ? `Every instance of ${agent} gets the content of ${target} again, as a new revision, by the same steps.`
          : `Every instance of ${agent} gets back what it had.`
      }
      act={target ? `Bring ${target} back` : "Take it back"}
      danger
      reasons={["Error rate", "Latency", "Wrong answers", "Not needed any more"]}
      command={(reason) => `servicing config rollback ${agent}${target ? ` ${target}` : ""} --reason ${reason}`}
      onAct={async (reason) => {
        const { error } = await http.POST("/api/platform/agents/{agent_id}/config/rollback", {
          params: { path: { agent_id: agent } },
          body: { config_version: target ?? null, reason },
        });
        await queries.invalidateQueries();
        return { error };
      }}
      onClose={onClose}
    />
  );
}
