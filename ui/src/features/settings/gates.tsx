/** Which agents need a passed staging run before an upgrade, and how old it may be. */
import { Button, Group, NumberInput, Stack, Switch, Text, TextInput } from "@mantine/core";
import { keepPreviousData, useQueries, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Dialog } from "../../components/dialog";
import { Asked, Failed, Panel } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Status } from "../../components/status";
import { Grid } from "./grid";

type Gate = Schemas["agent_servicing__web__schemas__staging__GateView"];

const SHOWN = 20;

export function Gates() {
  const queries = useQueryClient();
  const [words, setWords] = useState("");
  // Each gate is a request of its own: only what is looked at is asked for.
  const agents = api.useQuery(
    "get",
    "/api/platform/agents",
    { params: { query: { limit: SHOWN, q: words } } },
    { placeholderData: keepPreviousData },
  );
  const names = (agents.data?.agents ?? []).map((agent) => agent.agent_id);
  const more = (agents.data?.total ?? 0) > SHOWN;
  const gates = useQueries({
    queries: names.map((name) => ({
      queryKey: ["gate", name],
      queryFn: async () => {
        const { data, error } = await http.GET("/api/platform/agents/{agent_id}/staging/gate", {
          params: { path: { agent_id: name } },
        });
        if (error) throw error;
        return data;
      },
    })),
  });
  const why = useMay("admin");
  const [changing, setChanging] = useState<Gate | null>(null);
  const found = gates.flatMap((gate) => gate.data ?? []);
  return (
    <Panel title="Staging gates" flush>
      {(more || words) && (
        <TextInput
          label={`Agent (${SHOWN} of those that match are shown)`}
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
          p="md"
          maw={360}
        />
      )}
      <Asked question={agents}>
        <Grid
          label="Staging gates"
          heads={["Agent", "Before an upgrade", "How fresh", "Actions"]}
          none="No agent yet"
          rows={found.map((gate) => ({
            key: gate.agent_id,
            cells: [
              gate.agent_id,
              <Status key="needs" tone={gate.required ? "good" : "quiet"}>
                {gate.required ? "Needs a passed staging run" : "No run needed"}
              </Status>,
              `${gate.fresh_hours} h`,
              <Action key="act" size="compact-md" variant="default" why={why} onAct={() => setChanging(gate)}>
                Change
              </Action>,
            ],
          }))}
        />
      </Asked>
      {changing && (
        <ChangeGate
          gate={changing}
          onClose={() => {
            setChanging(null);
            void queries.invalidateQueries({ queryKey: ["gate"] });
          }}
        />
      )}
    </Panel>
  );
}

function ChangeGate({ gate, onClose }: { gate: Gate; onClose: () => void }) {
  const [required, setRequired] = useState(gate.required);
  const [hours, setHours] = useState<number | string>(gate.fresh_hours);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const send = async () => {
    const { error } = await http.PUT("/api/platform/agents/{agent_id}/staging/gate", {
      params: { path: { agent_id: gate.agent_id } },
      body: { required, fresh_hours: Number(hours), reason } as never,
    });
    if (error) setProblem(error);
    else onClose();
  };
  return (
    <Dialog title={`Staging gate of ${gate.agent_id}`} onClose={onClose} size="md">
      <Stack gap="md">
        <Text>An admin may pass it for one upgrade, with a reason.</Text>
        <Switch
          label="An upgrade needs a passed staging run"
          checked={required}
          onChange={(event) => setRequired(event.currentTarget.checked)}
        />
        <NumberInput label="Not older than" suffix=" h" min={0} value={hours} onChange={setHours} w={180} />
        <Reason value={reason} onChange={setReason} reasons={["Policy", "Incident"]} />
        {problem !== null && <Failed error={problem} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Leave it as it is
          </Button>
          <Button disabled={!reason.trim() || hours === ""} onClick={() => void send()}>
            Change it
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
