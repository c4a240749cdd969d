/** Asks why, then brings the content of an earlier revision back; without one, what is under way is taken back. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { http } from "../../api/client";
import { Failed } from "../../components/panel";
import { Reason } from "../../components/reason";

export function TakeBack({ agent, target, onClose }: { agent: string; target?: string; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const queries = useQueryClient();
  const go = async () => {
    setBusy(true);
    const { error } = await http.POST("/api/platform/agents/{agent_id}/config/rollback", {
      params: { path: { agent_id: agent } },
      body: { config_version: target ?? null, reason },
    });
    setBusy(false);
    await queries.invalidateQueries();
    if (error) setProblem(error);
    else onClose();
  };
  return (
    <Stack gap="sm">
      <Text>
        {target
          ? `Every instance gets the content of ${target} again, as a new revision.`
          : "Every instance gets back what it had."}
      </Text>
      <Reason
        value={reason}
        onChange={setReason}
        reasons={["Error rate", "Latency", "Wrong answers", "Not needed any more"]}
      />
      {problem !== null && <Failed error={problem} />}
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose}>
          Leave it
        </Button>
        <Button color="danger" loading={busy} disabled={!reason.trim()} onClick={() => void go()}>
          {target ? `Bring ${target} back` : "Take it back"}
        </Button>
      </Group>
    </Stack>
  );
}
