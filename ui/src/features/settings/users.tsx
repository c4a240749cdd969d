/** Who may sign in, with which role: add, change, disable, send a one-time link. */
import { Button, Group, PasswordInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import type { Role } from "../../app/session";
import { useSession } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Asked, Failed, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { bodyOfReach, type Reach, reachWords } from "./grants";
import { Grid, Once } from "./grid";
import { ReachDialog, ReachFields } from "./reach";

type User = Schemas["UserView"];
export const ROLES = [
  { value: "viewer", label: "Viewer: sees everything" },
  { value: "operator", label: "Operator: upgrades and rolls back" },
  { value: "admin", label: "Admin: users and settings too" },
];

export function Users() {
  const { me } = useSession();
  const users = api.useQuery("get", "/api/platform/users", { params: { query: { limit: 200 } } });
  const [adding, setAdding] = useState(false);
  const [disabling, setDisabling] = useState<User | null>(null);
  const [reaching, setReaching] = useState<User | null>(null);
  const [link, setLink] = useState<{ name: string; url: string } | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  const done = async ({ error }: { error?: unknown }) => {
    setProblem(error ?? null);
    await users.refetch();
  };
  const invite = async (user: User) => {
    const { data, error } = await http.POST("/api/platform/users/{user}/link", {
      params: { path: { user: user.name } },
    });
    setProblem(error ?? null);
    if (data) setLink({ name: user.name, url: data.url });
  };
  const rows = (users.data?.users ?? []).map((user) => ({
    key: user.user_id,
    cells: [
      user.name,
      <Select
        key="role"
        aria-label={`Role of ${user.name}`}
        data={ROLES}
        value={user.role}
        allowDeselect={false}
        disabled={user.name === me.name}
        w={230}
        onChange={(role) =>
          void http
            .PATCH("/api/platform/users/{user}", {
              params: { path: { user: user.name } },
              body: { role: role as Role } as never,
            })
            .then(done)
        }
      />,
      <Text key="reach" size="sm" className="cut">
        {reachWords(user.agents, user.grants)}
      </Text>,
      <Status key="status" tone={user.disabled_at ? "quiet" : "good"}>
        {user.disabled_at ? "Disabled" : user.has_password || user.external ? "Active" : "Invited"}
      </Status>,
      <Time key="seen" at={user.last_signed_in_at} />,
      <Group key="acts" gap="xs" wrap="nowrap">
        <Action
          size="compact-md"
          variant="default"
          why={user.disabled_at ? "Enable it first." : ""}
          onAct={() => void invite(user)}
        >
          One-time link
        </Action>
        <Button
          size="compact-md"
          variant="default"
          aria-label={`Which agents ${user.name} reaches`}
          onClick={() => setReaching(user)}
        >
          Agents
        </Button>
        {user.disabled_at ? (
          <Button
            size="compact-md"
            variant="default"
            onClick={() =>
              void http.POST("/api/platform/users/{user}/enable", { params: { path: { user: user.name } } }).then(done)
            }
          >
            Enable
          </Button>
        ) : (
          <Action
            size="compact-md"
            variant="default"
            why={user.name === me.name ? "This is you." : ""}
            onAct={() => setDisabling(user)}
          >
            Disable
          </Action>
        )}
      </Group>,
    ],
  }));
  return (
    <Panel
      title="Users"
      flush
      aside={
        <Button size="compact-md" onClick={() => setAdding(true)}>
          Add somebody
        </Button>
      }
    >
      {problem !== null && <Failed error={problem} />}
      {link && (
        <Stack p="md">
          <Once label={`Sign-in link for ${link.name}`} text={link.url} />
        </Stack>
      )}
      <Asked question={users}>
        <Grid
          label="Users"
          heads={["Name", "Role", "For", "Status", "Last signed in", "Actions"]}
          rows={rows}
          none="Nobody was added yet: the admin token is all there is"
        />
      </Asked>
      {adding && (
        <AddUser
          onClose={() => {
            setAdding(false);
            void users.refetch();
          }}
        />
      )}
      {reaching && (
        <ReachDialog
          user={reaching}
          onClose={() => {
            setReaching(null);
            void users.refetch();
          }}
        />
      )}
      {disabling && (
        <Confirm
          danger
          title={`Disable ${disabling.name}`}
          words="All of their sessions end now, and they cannot sign in until somebody enables them again."
          act="Disable"
          onAct={() => http.POST("/api/platform/users/{user}/disable", { params: { path: { user: disabling.name } } })}
          onClose={() => {
            setDisabling(null);
            void users.refetch();
          }}
        />
      )}
    </Panel>
  );
}

function AddUser({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<string>("operator");
  const [password, setPassword] = useState("");
  const [reach, setReach] = useState<Reach>({ agents: [], grants: [] });
  const add = () =>
    http.POST("/api/platform/users", {
      body: {
        name: name.trim(),
        role: role as Role,
        ...bodyOfReach(reach),
        ...(password ? { password } : {}),
      } as Schemas["CreateUserBody"],
    });
  return (
    <Dialog title="Add somebody" onClose={onClose}>
      <Stack gap="md">
        <TextInput
          label="Name"
          required
          data-autofocus
          autoComplete="off"
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
        <PasswordInput
          label="Password"
          description="Empty: they sign in by a one-time link that you send them."
          autoComplete="new-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          visibilityToggleButtonProps={{ "aria-label": "Show or hide the password" }}
        />
        <ReachFields value={reach} onChange={setReach} />
        <Ends act="Add" missing={!name.trim()} onAct={add} onClose={onClose} />
      </Stack>
    </Dialog>
  );
}
