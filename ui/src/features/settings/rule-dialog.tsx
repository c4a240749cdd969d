/** One rule of notifications: what goes where. A target may be named by any number of rules; each notification comes to it once. */
import { Select, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";
import { Agents, Many } from "../../components/many";
import { KINDS } from "./kinds";
import { bodyOf, type NotificationRule, SEVERITIES, withRule } from "./notification-body";

export function RuleDialog({
  view,
  rule,
  onClose,
}: {
  view: Schemas["NotificationSettingsView"];
  rule: NotificationRule | null;
  onClose: () => void;
}) {
  const [name, setName] = useState(rule?.name ?? "");
  const [targets, setTargets] = useState(rule?.targets ?? view.targets.slice(0, 1).map((target) => target.name));
  const [agents, setAgents] = useState(rule?.agents ?? []);
  const [kinds, setKinds] = useState(rule?.kinds ?? []);
  const [severity, setSeverity] = useState<string>(rule?.min_severity ?? "warning");
  const keep = () => {
    const written = {
      name: name.trim(),
      targets,
      agents: agents.length ? agents : null,
      kinds: kinds.length ? kinds : null,
      min_severity: severity as NotificationRule["min_severity"],
    };
    return http.PUT("/api/platform/settings/notifications", {
      body: bodyOf(view, withRule(view.rules, written, rule?.name)),
    });
  };
  return (
    <Dialog title={rule ? `Change ${rule.name}` : "Add a rule"} onClose={onClose}>
      <Stack gap="md">
        <TextInput
          label="Name"
          required
          data-autofocus
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Many
          label="Send to"
          required
          data={view.targets.map((target) => target.name)}
          value={targets}
          onChange={setTargets}
        />
        <Agents description="None: all agents, and what belongs to none" value={agents} onChange={setAgents} />
        <Many label="Kinds" description="None: all kinds" data={[...KINDS]} value={kinds} onChange={setKinds} />
        <Select
          label="How bad"
          allowDeselect={false}
          data={SEVERITIES}
          value={severity}
          onChange={(value) => setSeverity(value ?? "warning")}
        />
        <Ends
          act={rule ? "Keep it so" : "Add it"}
          missing={!name.trim() || !targets.length}
          onAct={keep}
          onClose={onClose}
        />
      </Stack>
    </Dialog>
  );
}
