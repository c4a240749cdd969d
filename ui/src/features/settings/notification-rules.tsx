/** Where notifications are sent: targets with their state and a real test, rules of what goes to which. */
import { Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Asked, Failed, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { duration } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { Grid } from "./grid";

type View = Schemas["NotificationSettingsView"];
type Body = Schemas["NotificationSettingsBody"];
type Test = Schemas["TestView"];

const STATES: Record<string, [Tone, string]> = {
  ok: ["good", "Arrives"],
  failing: ["bad", "Fails"],
  unused: ["quiet", "Not used yet"],
  off: ["quiet", "Off"],
};

/** Everything as it is; an address that is not sent is kept, so that no secret passes through here. */
function bodyOf(view: View): Body {
  return {
    give_up_seconds: view.give_up_seconds,
    if_revision: view.revision,
    page_url: view.page_url,
    rules: view.rules,
    same_for_seconds: view.same_for_seconds,
    targets: view.targets.map(({ name, enabled }) => ({ name, enabled })),
  } as Body;
}

export function NotificationRules() {
  const settings = api.useQuery("get", "/api/platform/settings/notifications", {});
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<string | null>(null);
  const [tests, setTests] = useState<Record<string, Test | "asked">>({});
  const close = () => {
    setAdding(false);
    setRemoving(null);
    void settings.refetch();
  };
  const test = async (name: string) => {
    setTests((before) => ({ ...before, [name]: "asked" }));
    const { data, error } = await http.POST("/api/platform/settings/notifications/targets/{name}/test", {
      params: { path: { name } },
    });
    const told = data ?? {
      delivered: false,
      duration_ms: 0,
      target: name,
      problem: (error as { detail?: string })?.detail ?? "It could not be tried.",
    };
    setTests((before) => ({ ...before, [name]: told }));
  };
  const rows = (settings.data?.targets ?? []).map((target) => {
    const delivery = settings.data?.delivery.find((each) => each.target === target.name);
    const [tone, words] = STATES[delivery?.status ?? "unused"] ?? ["quiet", "Not used yet"];
    const tested = tests[target.name];
    return {
      key: target.name,
      cells: [
        target.name,
        target.service,
        <div key="state">
          <Status tone={tone}>{words}</Status>
          {delivery?.last_error && (
            <Text size="sm" className="tone-bad cut">
              {delivery.last_error} (<Time at={delivery.last_error_at} />)
            </Text>
          )}
        </div>,
        <Group key="acts" gap="xs">
          <Button
            size="compact-md"
            variant="default"
            loading={tested === "asked"}
            onClick={() => void test(target.name)}
            aria-label={`Send a test to ${target.name}`}
          >
            Send a test
          </Button>
          <Button
            size="compact-md"
            variant="default"
            onClick={() => setRemoving(target.name)}
            aria-label={`Remove ${target.name}`}
          >
            Remove
          </Button>
          {tested && tested !== "asked" && (
            <Text size="sm" role="status" className={tested.delivered ? "tone-good cut" : "tone-bad cut"}>
              {tested.delivered
                ? `Delivered in ${Math.round(tested.duration_ms)} ms`
                : `Not delivered: ${tested.problem}`}
            </Text>
          )}
        </Group>,
      ],
    };
  });
  return (
    <Stack gap="lg">
      <Panel
        title="Targets"
        flush
        aside={
          <Button size="compact-md" disabled={!settings.data} onClick={() => setAdding(true)}>
            Add a target
          </Button>
        }
      >
        <Asked question={settings}>
          <Grid
            label="Targets of notifications"
            heads={["Name", "Service", "State", "Actions"]}
            rows={rows}
            none="Notifications are shown here only; add a webhook to send them on"
          />
        </Asked>
      </Panel>
      {settings.data && (
        <Panel title="Rules" flush>
          <Grid
            label="Rules of notifications"
            heads={["Name", "From", "Kinds", "Agents", "To"]}
            none="There is none: nothing is sent on"
            rows={settings.data.rules.map((rule) => ({
              key: rule.name,
              cells: [
                rule.name,
                rule.min_severity,
                rule.kinds?.join(", ") ?? "all",
                rule.agents?.join(", ") ?? "all",
                rule.targets.join(", "),
              ],
            }))}
          />
          <Text p="md" size="sm" c="dimmed">
            The same is not told again for {duration(settings.data.same_for_seconds)}; what cannot be delivered is given
            up after {duration(settings.data.give_up_seconds)}.
          </Text>
        </Panel>
      )}
      {adding && settings.data && <AddTarget view={settings.data} onClose={close} />}
      {removing && settings.data && (
        <Confirm
          danger
          title={`Remove ${removing}`}
          words="Nothing is sent there any more; rules that only led there go with it."
          act="Remove"
          onAct={() => http.PUT("/api/platform/settings/notifications", { body: without(settings.data, removing) })}
          onClose={close}
        />
      )}
    </Stack>
  );
}

function without(view: View, name: string): Body {
  const body = bodyOf(view);
  const rules = view.rules
    .map((rule) => ({ ...rule, targets: rule.targets.filter((target) => target !== name) }))
    .filter((rule) => rule.targets.length > 0);
  return { ...body, rules, targets: body.targets.filter((target) => target.name !== name) } as Body;
}

function AddTarget({ view, onClose }: { view: View; onClose: () => void }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [severity, setSeverity] = useState<string>("warning");
  const [problem, setProblem] = useState<unknown>(null);
  const add = async () => {
    const before = bodyOf(view);
    const target = name.trim();
    const { error } = await http.PUT("/api/platform/settings/notifications", {
      body: {
        ...before,
        targets: [...before.targets, { name: target, url: url.trim(), enabled: true }],
        rules: [...view.rules, { name: target, targets: [target], min_severity: severity }],
      } as Body,
    });
    if (error) setProblem(error);
    else onClose();
  };
  return (
    <Dialog title="Add a target" onClose={onClose} size="md">
      <Stack gap="md">
        <TextInput
          label="Name"
          required
          data-autofocus
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label="Address"
          description="Such as jsons://example.org/hook, slack://… or mailto://…; kept as a secret"
          required
          value={url}
          onChange={(event) => setUrl(event.currentTarget.value)}
        />
        <Select
          label="What is sent there"
          allowDeselect={false}
          data={[
            { value: "info", label: "Everything" },
            { value: "warning", label: "Warnings and worse" },
            { value: "error", label: "Errors and worse" },
            { value: "critical", label: "Only what is critical" },
          ]}
          value={severity}
          onChange={(value) => setSeverity(value ?? "warning")}
        />
        {problem !== null && <Failed error={problem} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Not now
          </Button>
          <Button disabled={!name.trim() || !url.trim()} onClick={() => void add()}>
            Add it
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
