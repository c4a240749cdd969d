/** One's own colours, keys, password and sessions. */
import { Button, Group, PasswordInput, SegmentedControl, Stack, Text, useMantineColorScheme } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, http } from "../../api/client";
import { useSession } from "../../app/session";
import { Action } from "../../components/action";
import { Asked, Failed, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { chooseZone, chosenZone, type Zone } from "../../lib/format";
import { SingleKeys } from "../palette/single-keys";
import { Grid } from "./grid";

export function Mine() {
  const { me } = useSession();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Stack gap="lg">
      <Panel title="Looks">
        <SegmentedControl
          aria-label="Colours"
          value={colorScheme}
          onChange={(value) => setColorScheme(value as "light" | "dark" | "auto")}
          data={[
            { value: "light", label: "Light" },
            { value: "dark", label: "Dark" },
            { value: "auto", label: "As the system" },
          ]}
        />
      </Panel>
      <Panel title="Times">
        <SegmentedControl
          aria-label="Times"
          value={chosenZone()}
          onChange={(value) => {
            chooseZone(value as Zone);
            window.location.reload();
          }}
          data={[
            { value: "local", label: `As this browser (${Intl.DateTimeFormat().resolvedOptions().timeZone})` },
            { value: "utc", label: "UTC" },
          ]}
        />
        <Text size="sm" c="dimmed" mt="xs">
          How times are shown in this browser. A time of day that you type is always that of this browser, as it says
          beside it.
        </Text>
      </Panel>
      <Panel title="Keys">
        <SingleKeys />
      </Panel>
      <Panel title="Password">
        {me.user_id ? <Password /> : <Text>You are signed in by a token: it has no password.</Text>}
      </Panel>
      <Sessions />
    </Stack>
  );
}

function Password() {
  const queries = useQueryClient();
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const change = async () => {
    const { error } = await http.PUT("/api/platform/me/password", {
      body: { current_password: old || null, new_password: fresh },
    });
    setProblem(error ?? null);
    if (error) return;
    setOld("");
    setFresh("");
    notifications.show({ message: "Your password is changed; your other sessions ended." });
    await queries.invalidateQueries({ queryKey: ["me"] });
  };
  const looks = { visibilityToggleButtonProps: { "aria-label": "Show or hide the password" }, maw: 360 };
  return (
    <Stack gap="md">
      <PasswordInput
        {...looks}
        label="The present one"
        autoComplete="current-password"
        value={old}
        onChange={(event) => setOld(event.currentTarget.value)}
      />
      <PasswordInput
        {...looks}
        label="The new one"
        required
        autoComplete="new-password"
        value={fresh}
        onChange={(event) => setFresh(event.currentTarget.value)}
      />
      {problem !== null && <Failed error={problem} />}
      <Group>
        <Button disabled={!fresh} onClick={() => void change()}>
          Change it
        </Button>
      </Group>
    </Stack>
  );
}

function Sessions() {
  const sessions = api.useQuery("get", "/api/platform/sessions", {});
  const end = async (id: string) => {
    await http.DELETE("/api/platform/sessions/{session_id}", { params: { path: { session_id: id } } });
    await sessions.refetch();
  };
  return (
    <Panel title="Your sessions" flush>
      <Asked question={sessions}>
        <Grid
          label="Your sessions"
          heads={["Started", "Last seen", "From", "Client", "Actions"]}
          none="There is none"
          rows={(sessions.data?.sessions ?? []).map((session) => ({
            key: session.session_id,
            cells: [
              <Time key="begun" at={session.created_at} />,
              session.current ? (
                <Status key="now" tone="good">
                  This one
                </Status>
              ) : (
                <Time key="seen" at={session.seen_at} />
              ),
              session.address,
              <Text key="client" size="sm" lineClamp={1}>
                {session.client}
              </Text>,
              <Action
                key="end"
                size="compact-md"
                variant="default"
                why={session.current ? "Sign out in the menu with your name." : ""}
                onAct={() => void end(session.session_id)}
              >
                End it
              </Action>,
            ],
          }))}
        />
      </Asked>
    </Panel>
  );
}
