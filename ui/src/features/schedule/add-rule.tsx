/** A new freeze or window: for one time or again and again, for all agents or some. */
import { Group, NumberInput, Radio, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Agents } from "../../components/many";
import { Reason } from "../../components/reason";
import { cronOf, EVERY, type Every } from "./repeat";

type Body = Schemas["agent_servicing__web__schemas__schedule__RuleBody"];
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function AddRule({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState<"freeze" | "window">("freeze");
  const [agents, setAgents] = useState<string[]>([]);
  const [repeats, setRepeats] = useState(false);
  const [from, setFrom] = useState("");
  const [until, setUntil] = useState("");
  const [every, setEvery] = useState<Every>("day");
  const [at, setAt] = useState("22:00");
  const [own, setOwn] = useState("");
  const [hours, setHours] = useState<number | "">(8);
  const [zone, setZone] = useState(ZONE);
  const [reason, setReason] = useState("");
  const cron = cronOf(every, at, own);
  const missing = !name.trim() || !reason.trim() || (repeats ? !cron || !hours || !zone.trim() : !from || !until);
  const add = () => {
    const when = repeats
      ? { cron, duration_seconds: Number(hours) * 3600, time_zone: zone.trim() }
      : { starts_at: new Date(from).toISOString(), ends_at: new Date(until).toISOString(), time_zone: ZONE };
    return http.POST("/api/platform/schedule/rules", {
      body: { kind, name: name.trim(), reason, agents, ...when } as Body,
    });
  };
  return (
    <Dialog title="Add a freeze or a window" onClose={onClose}>
      <Stack gap="md">
        <Text>In a freeze nothing begins. Where there are windows, things begin only in one.</Text>
        <Group align="flex-start">
          <Select
            label="Kind"
            allowDeselect={false}
            data={[
              { value: "freeze", label: "Freeze" },
              { value: "window", label: "Window" },
            ]}
            value={kind}
            onChange={(value) => setKind(value === "window" ? "window" : "freeze")}
            w={140}
          />
          <TextInput
            label="Name"
            required
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.currentTarget.value)}
          />
        </Group>
        <Agents value={agents} onChange={setAgents} />
        <Radio.Group
          label="How often"
          value={repeats ? "repeats" : "once"}
          onChange={(value) => setRepeats(value === "repeats")}
        >
          <Group mt={4}>
            <Radio value="once" label="Once" />
            <Radio value="repeats" label="Again and again" />
          </Group>
        </Radio.Group>
        {repeats ? (
          <Group align="flex-start">
            <Select
              label="Every"
              allowDeselect={false}
              data={EVERY}
              value={every}
              onChange={(value) => setEvery((value ?? "day") as Every)}
              w={210}
            />
            {every === "own" ? (
              <TextInput
                label="Cron"
                required
                description="Minute, hour, day, month, day of week"
                className="mono"
                value={own}
                onChange={(e) => setOwn(e.currentTarget.value)}
              />
            ) : (
              <TextInput
                label="Begins at"
                required
                type="time"
                value={at}
                onChange={(e) => setAt(e.currentTarget.value)}
              />
            )}
            <NumberInput
              label="Lasts"
              required
              suffix=" h"
              min={0.25}
              max={744}
              value={hours}
              onChange={(value) => setHours(value === "" ? "" : Number(value))}
              w={110}
            />
            <TextInput
              label="Time zone"
              required
              description="The hours are real ones, also when its clock changes"
              value={zone}
              onChange={(e) => setZone(e.currentTarget.value)}
            />
          </Group>
        ) : (
          <Group align="flex-start">
            <TextInput
              label="From"
              required
              type="datetime-local"
              value={from}
              onChange={(e) => setFrom(e.currentTarget.value)}
            />
            <TextInput
              label="Until"
              required
              type="datetime-local"
              value={until}
              onChange={(e) => setUntil(e.currentTarget.value)}
            />
          </Group>
        )}
        <Reason value={reason} onChange={setReason} reasons={["Holidays", "Launch", "Incident"]} />
        <Ends act="Add it" missing={missing} onAct={add} onClose={onClose} />
      </Stack>
    </Dialog>
  );
}
