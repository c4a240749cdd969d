/** Secrets by name: which version, used by whom. Their values can be written and never read. */
import { PasswordInput, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, http } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Asked, Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { Grid } from "./grid";

export function Secrets() {
  const secrets = api.useQuery("get", "/api/platform/secrets", { params: { query: { limit: 200 } } });
  const may = useMay("operator");
  const [setting, setSetting] = useState<string | null>(null);
  const rows = (secrets.data?.secrets ?? []).map((secret) => ({
    key: secret.name,
    cells: [
      <span key="name" className="mono">
        {secret.name}
      </span>,
      secret.agent_id ?? "all agents",
      `version ${secret.version}`,
      <span key="by">
        {secret.created_by}, <Time at={secret.created_at} />
      </span>,
      [...new Set(secret.used_by.map((use) => use.agent_id))].join(", ") || "nobody",
      <Action key="set" size="compact-md" variant="default" why={may} onAct={() => setSetting(secret.name)}>
        Set a new value
      </Action>,
    ],
  }));
  return (
    <Panel
      title="Secrets"
      flush
      aside={
        <Action size="compact-md" why={may} onAct={() => setSetting("")}>
          Add a secret
        </Action>
      }
    >
      <Asked question={secrets}>
        <Grid
          label="Secrets"
          heads={["Name", "For", "Now", "Set by", "Used by", "Actions"]}
          rows={rows}
          none="There is none. A configuration refers to one by its name instead of holding its value"
        />
      </Asked>
      {setting !== null && (
        <SetSecret
          known={setting}
          onClose={() => {
            setSetting(null);
            void secrets.refetch();
          }}
        />
      )}
    </Panel>
  );
}

function SetSecret({ known, onClose }: { known: string; onClose: () => void }) {
  const [name, setName] = useState(known);
  const [value, setValue] = useState("");
  const set = () =>
    http.PUT("/api/platform/secrets/{name}", {
      params: { path: { name: name.trim() } },
      body: { value },
    });
  return (
    <Dialog title={known ? `A new value for ${known}` : "Add a secret"} onClose={onClose} size="md">
      <Stack gap="md">
        <TextInput
          label="Name"
          required
          disabled={Boolean(known)}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <PasswordInput
          label="Value"
          description="Nobody can read it here again."
          required
          autoComplete="off"
          value={value}
          onChange={(event) => setValue(event.currentTarget.value)}
          visibilityToggleButtonProps={{ "aria-label": "Show or hide the value" }}
        />
        <Ends act="Keep it" missing={!name.trim() || !value} onAct={set} onClose={onClose} />
      </Stack>
    </Dialog>
  );
}
