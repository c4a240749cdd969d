/** Tokens for programs: made with a role and an end, shown once, revoked with a second click. */
import { Button, Select, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import type { Role } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Agents } from "../../components/many";
import { Asked, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { Grid, Once } from "./grid";
import { ROLES } from "./users";

type Token = Schemas["TokenView"];

export function Tokens() {
  const tokens = api.useQuery("get", "/api/platform/tokens", { params: { query: { limit: 200 } } });
  const [adding, setAdding] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const over = (token: Token) => token.revoked_at || (token.expires_at && Date.parse(token.expires_at) < Date.now());
  const rows = (tokens.data?.tokens ?? []).map((token) => ({
    key: token.token_id,
    cells: [
      token.name,
      token.agents ? `${token.role} of ${token.agents.join(", ")}` : token.role,
      <Status key="status" tone={over(token) ? "quiet" : "good"}>
        {token.revoked_at ? "Revoked" : over(token) ? "Expired" : "Valid"}
      </Status>,
      token.expires_at ? <Time key="end" at={token.expires_at} /> : "never",
      <Time key="used" at={token.last_used_at} />,
      <Action
        key="revoke"
        size="compact-md"
        variant="default"
        why={token.revoked_at ? "It is revoked." : ""}
        onAct={() => setRevoking(token)}
      >
        Revoke
      </Action>,
    ],
  }));
  return (
    <Panel
      title="API tokens"
      flush
      aside={
        <Button size="compact-md" onClick={() => setAdding(true)}>
          Make a token
        </Button>
      }
    >
      <Asked question={tokens}>
        <Grid
          label="API tokens"
          heads={["Name", "Role", "Status", "Expires", "Last used", "Actions"]}
          rows={rows}
          none="There is none"
        />
      </Asked>
      {adding && (
        <Make
          onClose={() => {
            setAdding(false);
            void tokens.refetch();
          }}
        />
      )}
      {revoking && (
        <Confirm
          danger
          title={`Revoke ${revoking.name}`}
          words="Whatever uses it is refused from now on. It cannot be undone."
          act="Revoke"
          onAct={() =>
            http.DELETE("/api/platform/tokens/{token_id}", { params: { path: { token_id: revoking.token_id } } })
          }
          onClose={() => {
            setRevoking(null);
            void tokens.refetch();
          }}
        />
      )}
    </Panel>
  );
}

function Make({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<string>("viewer");
  const [until, setUntil] = useState("");
  const [agents, setAgents] = useState<string[]>([]);
  const [made, setMade] = useState<string | null>(null);
  const make = () =>
    http.POST("/api/platform/tokens", {
      body: {
        name: name.trim(),
        role: role as Role,
        ...(agents.length ? { agents } : {}),
        ...(until ? { expires_at: new Date(until).toISOString() } : {}),
      },
    });
  return (
    <Dialog title="Make a token" onClose={onClose} size="md">
      {made ? (
        <Stack gap="md">
          <Once label={`The token ${name}`} text={made} />
          <Button onClick={onClose}>I have kept it</Button>
        </Stack>
      ) : (
        <Stack gap="md">
          <TextInput
            label="Name"
            description="What uses it"
            required
            data-autofocus
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <Select
            label="Role"
            data={ROLES}
            value={role}
            allowDeselect={false}
            onChange={(value) => setRole(value ?? "viewer")}
          />
          <Agents value={agents} onChange={setAgents} />
          <TextInput
            label="Expires"
            description="Empty: never"
            type="datetime-local"
            value={until}
            onChange={(event) => setUntil(event.currentTarget.value)}
          />
          <Ends
            act="Make it"
            missing={!name.trim()}
            onAct={make}
            onDone={(token) => setMade(token?.token ?? null)}
            onClose={onClose}
          />
        </Stack>
      )}
    </Dialog>
  );
}
