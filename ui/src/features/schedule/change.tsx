/** What can be changed of a deployment that has not ended: approved, rejected, given another time, cancelled. */
import { TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { Confirm } from "../../components/confirm";

export type Change = "approve" | "reject" | "reschedule" | "cancel";

const WORDS: Record<Change, { title: string; words: string; act: string; danger?: boolean; reasons: string[] }> = {
  approve: {
    title: "Approve",
    words: "It begins as soon as its time has come and its agent is free.",
    act: "Approve it",
    reasons: ["Reviewed", "Agreed with the team"],
  },
  reject: {
    title: "Reject",
    words: "It never begins. Who asked for it is told your reason.",
    act: "Reject it",
    danger: true,
    reasons: ["Not now", "Wrong version", "Needs a staging run"],
  },
  reschedule: {
    title: "Give it another time",
    words: "Leave the time empty to begin as soon as its agent is free.",
    act: "Reschedule",
    reasons: ["Less traffic then", "Wait for the team", "Urgent"],
  },
  cancel: {
    title: "Cancel",
    words: "One that has not begun never begins; one that runs is taken back to the old version.",
    act: "Cancel it",
    danger: true,
    reasons: ["No longer needed", "Wrong version", "Not now"],
  },
};

export function Change({
  kind,
  deployment,
  onClose,
}: {
  kind: Change;
  deployment: Schemas["DeploymentView"];
  onClose: () => void;
}) {
  const queries = useQueryClient();
  const [at, setAt] = useState(deployment.scheduled_at ? local(deployment.scheduled_at) : "");
  const { title, words, act, danger, reasons } = WORDS[kind];
  const send = async (reason: string) => {
    const { error } = await http.POST(`/api/platform/agents/{agent_id}/upgrades/{upgrade_id}/${kind}`, {
      params: { path: { agent_id: deployment.agent_id, upgrade_id: deployment.upgrade_id } },
      body: {
        reason,
        ...(kind === "reschedule" ? { schedule: at ? new Date(at).toISOString() : null } : {}),
        ...(kind === "reschedule" ? { if_state: deployment.status } : {}),
      } as never,
    });
    await queries.invalidateQueries();
    return { error };
  };
  return (
    <Confirm
      title={`${title}: ${deployment.agent_id} ${deployment.to_version}`}
      words={words}
      act={act}
      danger={danger}
      reasons={reasons}
      onAct={send}
      onClose={onClose}
    >
      {kind === "reschedule" && (
        <TextInput
          label="Begins"
          type="datetime-local"
          maw={260}
          description={`Time zone: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`}
          value={at}
          onChange={(event) => setAt(event.currentTarget.value)}
        />
      )}
    </Confirm>
  );
}

/** As a datetime-local field wants it: the reader's own time, to the minute. */
function local(at: string): string {
  const when = new Date(at);
  return new Date(when.getTime() - when.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
