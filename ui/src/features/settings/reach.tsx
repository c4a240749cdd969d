/** For which agents somebody's role holds, and which other roles they have for single agents. */
import { Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Agents } from "../../components/many";
import { bodyOfReach, type Granted, grantsOf, type Reach } from "./grants";

const ROLES = [
  { value: "viewer", label: "Viewer" },
  { value: "operator", label: "Operator" },
  { value: "admin", label: "Admin" },
];

/** The fields alone, for somebody new and for somebody who is there. */
export function ReachFields({ value, onChange }: { value: Reach; onChange: (reach: Reach) => void }) {
  const { agents, grants } = value;
  const change = (at: number, granted: Partial<Granted>) =>
    onChange({ ...value, grants: grants.map((each, place) => (place === at ? { ...each, ...granted } : each)) });
  return (
    <Stack gap="sm">
      <Agents
        label="The role holds for"
        description="None: all agents. Others are not even seen"
        value={agents}
        onChange={(names) => onChange({ ...value, agents: names })}
      />
      <Stack gap="xs" role="group" aria-label="Other roles for single agents">
        <Text fw={500}>Other roles for single agents</Text>
        {grants.map((each, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a line is its place while it is typed
          <Group key={at} gap="xs" align="flex-end">
            <TextInput
              label="Agent"
              value={each.agent}
              onChange={(event) => change(at, { agent: event.currentTarget.value })}
            />
            <Select
              label="Role"
              w={140}
              allowDeselect={false}
              data={ROLES}
              value={each.role}
              onChange={(role) => change(at, { role: (role ?? "viewer") as Granted["role"] })}
            />
            <Button
              variant="default"
              aria-label={`Take away the role for ${each.agent || "this agent"}`}
              onClick={() => onChange({ ...value, grants: grants.filter((_, place) => place !== at) })}
            >
              Take away
            </Button>
          </Group>
        ))}
        <Button
          variant="default"
          size="compact-md"
          w="fit-content"
          onClick={() => onChange({ ...value, grants: [...grants, { agent: "", role: "operator" }] })}
        >
          Add one
        </Button>
      </Stack>
    </Stack>
  );
}

export function ReachDialog({ user, onClose }: { user: Schemas["UserView"]; onClose: () => void }) {
  const [reach, setReach] = useState<Reach>({ agents: user.agents ?? [], grants: grantsOf(user.grants) });
  const keep = () => {
    const { agents, grants } = bodyOfReach(reach);
    return http.PATCH("/api/platform/users/{user}", {
      params: { path: { user: user.name } },
      body: { grants, ...(agents ? { agents } : { all_agents: true }) } as Schemas["ChangeUserBody"],
    });
  };
  return (
    <Dialog title={`What ${user.name} reaches`} onClose={onClose}>
      <Stack gap="md">
        <Text>
          {user.name} is {user.role}. For an agent with a role of its own, the higher of the two counts.
        </Text>
        <ReachFields value={reach} onChange={setReach} />
        <Ends act="Keep it so" onAct={keep} onClose={onClose} />
      </Stack>
    </Dialog>
  );
}
