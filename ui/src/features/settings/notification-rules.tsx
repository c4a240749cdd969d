/** Where notifications are sent: targets with their state and a real test, rules of what goes to which. */
import { Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Asked, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import { duration } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { Grid } from "./grid";
import { bodyOf, type NotificationRule, SEVERITIES, withoutTarget } from "./notification-body";
import { RuleDialog } from "./rule-dialog";

type View = Schemas["NotificationSettingsView"];
type Body = Schemas["NotificationSettingsBody"];
type Test = Schemas["TestView"];

const STATES: Record<string, [Tone, string]> = {
  ok: ["good", "Arrives"],
  failing: ["bad", "Fails"],
  unused: ["quiet", "Not used yet"],
  off: ["quiet", "Off"],
};

export function NotificationRules() {
  const settings = api.useQuery("get", "/api/platform/settings/notifications", {});
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<string | null>(null);
  const [tests, setTests] = useState<Record<string, Test | "asked">>({});
  const [rule, setRule] = useState<NotificationRule | "new" | null>(null);
  const [dropping, setDropping] = useState<NotificationRule | null>(null);
  const close = () => {
    setAdding(false);
    setRemoving(null);
    setRule(null);
    setDropping(null);
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
        <Panel
          title="Rules"
          flush
          aside={
            <Action
              size="compact-md"
              why={settings.data.targets.length ? "" : "Add a target first."}
              onAct={() => setRule("new")}
            >
              Add a rule
            </Action>
          }
        >
          <Grid
            label="Rules of notifications"
            heads={["Name", "From", "Kinds", "Agents", "To", "Actions"]}
            none="There is none: nothing is sent on"
            rows={settings.data.rules.map((rule) => ({
              key: rule.name,
              cells: [
                rule.name,
                rule.min_severity,
                rule.kinds?.join(", ") ?? "all",
                rule.agents?.join(", ") ?? "all",
                rule.targets.join(", "),
                <Group key="acts" gap="xs" wrap="nowrap">
                  <Button
                    size="compact-md"
                    variant="default"
                    onClick={() => setRule(rule)}
                    aria-label={`Change the rule ${rule.name}`}
                  >
                    Change
                  </Button>
                  <Button
                    size="compact-md"
                    variant="default"
                    onClick={() => setDropping(rule)}
                    aria-label={`Remove the rule ${rule.name}`}
                  >
                    Remove
                  </Button>
                </Group>,
              ],
            }))}
          />
          <Text p="md" size="sm" c="dimmed">
            The same is not told again for {duration(settings.data.same_for_seconds)}; what cannot be delivered is given
            up after {duration(settings.data.give_up_seconds)}.
          </Text>
        </Panel>
      )}
      {rule && settings.data && <RuleDialog view={settings.data} rule={rule === "new" ? null : rule} onClose={close} />}
      {dropping && settings.data && (
        <Confirm
          danger
          title={`Remove the rule ${dropping.name}`}
          words="What only this rule sends on is then shown here only."
          act="Remove"
          onAct={() =>
            http.PUT("/api/platform/settings/notifications", {
              body: bodyOf(
                settings.data,
                settings.data.rules.filter((each) => each.name !== dropping.name),
              ),
            })
          }
          onClose={close}
        />
      )}
      {adding && settings.data && <AddTarget view={settings.data} onClose={close} />}
      {removing && settings.data && (
        <Confirm
          danger
          title={`Remove ${removing}`}
          words="Nothing is sent there any more; rules that only led there go with it."
          act="Remove"
          onAct={() =>
            http.PUT("/api/platform/settings/notifications", { body: withoutTarget(settings.data, removing) })
          }
          onClose={close}
        />
      )}
    </Stack>
  );
}

function AddTarget({ view, onClose }: { view: View; onClose: () => void }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [severity, setSeverity] = useState<string>("warning");
  const add = () => {
    const before = bodyOf(view);
    const target = name.trim();
    return http.PUT("/api/platform/settings/notifications", {
      body: {
        ...before,
        targets: [...before.targets, { name: target, url: url.trim(), enabled: true }],
        rules: [...view.rules, { name: target, targets: [target], min_severity: severity }],
      } as Body,
    });
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
          data={SEVERITIES}
          value={severity}
          onChange={(value) => setSeverity(value ?? "warning")}
        />
        <Ends act="Add it" missing={!name.trim() || !url.trim()} onAct={add} onClose={onClose} />
      </Stack>
    </Dialog>
  );
}
