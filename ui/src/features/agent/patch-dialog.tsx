/** A change of the configuration of a running agent: only what differs is sent, the server checks it while one types, and the answer says who took it up. */
import { Button, Group, JsonInput, NumberInput, SegmentedControl, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Failed } from "../../components/panel";
import { Reason } from "../../components/reason";
import { Status } from "../../components/status";

type Key = Schemas["ConfigModel"]["keys"][number];
type Body = Schemas["ConfigPatchBody"];
type Done = {
  config_version?: string;
  instances?: { instance: string; result: string }[];
  downtime_seconds?: number;
  applied_by?: Record<string, string>;
};

export function PatchDialog({
  agent,
  config,
  onClose,
}: {
  agent: string;
  config: Schemas["ConfigModel"];
  onClose: () => void;
}) {
  const queries = useQueryClient();
  const [changes, setChanges] = useState<Record<string, unknown>>({});
  const [profile, setProfile] = useState("fast");
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const [done, setDone] = useState<Done | null>(null);
  const [busy, setBusy] = useState(false);
  const names = Object.keys(changes);
  const body = { config_updates: nested(changes), profile, if_version: config.config_version } as unknown as Body;
  const [asked] = useDebouncedValue(body, 300);
  const check = api.useQuery(
    "patch",
    "/api/platform/agents/{agent_id}/config",
    { params: { path: { agent_id: agent } }, body: { ...asked, dry_run: true, reason: "check" } },
    { enabled: names.length > 0 && !done, retry: 0 },
  );

  const apply = async () => {
    setBusy(true);
    setProblem(null);
    const { data, error } = await http.PATCH("/api/platform/agents/{agent_id}/config", {
      params: { path: { agent_id: agent } },
      body: { ...body, reason },
    });
    setBusy(false);
    if (error) setProblem(error);
    else setDone(data as unknown as Done);
    await queries.invalidateQueries();
  };

  const set = (key: Key, value: unknown) => {
    const { [key.key]: _, ...others } = changes;
    setChanges(JSON.stringify(value) === JSON.stringify(key.value) ? others : { ...others, [key.key]: value });
  };
  return (
    <Dialog title={`Hot patch ${agent}`} onClose={onClose} size="xl">
      {done ? (
        <Applied done={done} onClose={onClose} />
      ) : (
        <Stack gap="md">
          <Text c="dimmed">
            Takes effect while the agent runs; every instance is asked first, and a refusal of one changes nothing.
          </Text>
          {config.keys.map((key) => (
            <Field
              key={key.key}
              field={key}
              value={key.key in changes ? changes[key.key] : key.value}
              onChange={(value) => set(key, value)}
            />
          ))}
          <div>
            <SegmentedControl
              aria-label="How"
              data={["fast", "safe", "instant"]}
              value={profile}
              onChange={setProfile}
            />
            <Text size="sm" c="dimmed">
              {
                {
                  fast: "One instance first, a short look, then all.",
                  safe: "A share of them under watch, back by itself.",
                  instant: "All at once.",
                }[profile]
              }
            </Text>
          </div>
          <Preview config={config} changes={changes} />
          {check.error !== null && names.length > 0 && <Failed error={check.error} />}
          <Reason value={reason} onChange={setReason} reasons={["Temporary fix", "Tuning", "Incident"]} />
          {problem !== null && <Failed error={problem} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Leave it
            </Button>
            <Button
              loading={busy}
              disabled={!names.length || !reason.trim() || check.error !== null}
              onClick={() => void apply()}
            >
              Apply hot patch
            </Button>
          </Group>
        </Stack>
      )}
    </Dialog>
  );
}

function Field({ field, value, onChange }: { field: Key; value: unknown; onChange: (value: unknown) => void }) {
  const label = `${field.key}${field.applied_by === "restart" ? " (by a rolling restart)" : ""}`;
  const looks = { label, description: field.description || undefined };
  if (field.secret)
    return (
      <TextInput
        {...looks}
        placeholder="secret:NAME, or a new value"
        onChange={(event) => onChange(event.currentTarget.value || field.value)}
      />
    );
  switch (typeof field.value) {
    case "boolean":
      return <Switch {...looks} checked={Boolean(value)} onChange={(event) => onChange(event.currentTarget.checked)} />;
    case "number":
      return (
        <NumberInput
          {...looks}
          value={value as number}
          onChange={(next) => onChange(next === "" ? field.value : Number(next))}
        />
      );
    case "string":
      return <TextInput {...looks} value={String(value)} onChange={(event) => onChange(event.currentTarget.value)} />;
    default:
      return <JsonField {...looks} initial={field.value} onChange={onChange} />;
  }
}

function JsonField({
  initial,
  onChange,
  ...looks
}: {
  label: string;
  description?: string;
  initial: unknown;
  onChange: (value: unknown) => void;
}) {
  const [text, setText] = useState(JSON.stringify(initial));
  const change = (next: string) => {
    setText(next);
    try {
      onChange(JSON.parse(next));
    } catch {
      onChange(initial);
    }
  };
  return <JsonInput {...looks} value={text} onChange={change} validationError="This is no JSON yet." autosize />;
}

function Preview({ config, changes }: { config: Schemas["ConfigModel"]; changes: Record<string, unknown> }) {
  const before = new Map(config.keys.map((key) => [key.key, key]));
  if (!Object.keys(changes).length) return null;
  return (
    <Stack gap={2} role="status" aria-label="What changes">
      {Object.entries(changes).map(([key, value]) => (
        <Text key={key} size="sm" className="mono cut">
          {key}: {before.get(key)?.secret ? "•••" : JSON.stringify(before.get(key)?.value)} →{" "}
          {before.get(key)?.secret ? "•••" : JSON.stringify(value)}
        </Text>
      ))}
    </Stack>
  );
}

function Applied({ done, onClose }: { done: Done; onClose: () => void }) {
  const instances = done.instances ?? [];
  const taken = instances.filter((each) => each.result === "applied").length;
  return (
    <Stack gap="sm" role="status">
      <Status
        tone={taken === instances.length ? "good" : "warn"}
      >{`${done.config_version}: taken up by ${taken} of ${instances.length} instances. No restart.`}</Status>
      {instances.map((each) => (
        <Text key={each.instance} size="sm">
          <span className="mono">{each.instance}</span> {each.result.replaceAll("_", " ")}
        </Text>
      ))}
      <Group justify="flex-end">
        <Button onClick={onClose}>Close</Button>
      </Group>
    </Stack>
  );
}

/** Dotted keys as the objects that they stand for. */
export function nested(changes: Record<string, unknown>): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(changes)) {
    const parts = key.split(".");
    let place = whole;
    for (const part of parts.slice(0, -1)) {
      place[part] ??= {};
      place = place[part] as Record<string, unknown>;
    }
    place[parts[parts.length - 1] ?? key] = value;
  }
  return whole;
}
