/** Where “Report issue” opens its tickets. The token is a secret's name, never a value. */
import { Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { api, http, type Schemas } from "../../api/client";
import { Action } from "../../components/action";
import { Asked, Failed, Panel } from "../../components/panel";

type View = Schemas["TrackerView"];
const KINDS = [
  { value: "none", label: "None: the bundle is kept here" },
  { value: "github", label: "GitHub" },
  { value: "gitlab", label: "GitLab" },
  { value: "webhook", label: "Webhook" },
];

export function Tracker() {
  const tracker = api.useQuery("get", "/api/platform/settings/issues", {});
  return (
    <Panel title="Issue tracker">
      <Asked question={tracker}>
        {tracker.data && (
          <Form key={tracker.data.revision} view={tracker.data} onSaved={() => void tracker.refetch()} />
        )}
      </Asked>
    </Panel>
  );
}

function Form({ view, onSaved }: { view: View; onSaved: () => void }) {
  const [kind, setKind] = useState<View["kind"]>(view.kind);
  const [url, setUrl] = useState(view.base_url);
  const [project, setProject] = useState(view.project);
  const [labels, setLabels] = useState(view.labels.join(", "));
  const [secret, setSecret] = useState(view.token?.$secret ?? "");
  const [problem, setProblem] = useState<unknown>(null);
  const [tested, setTested] = useState<Schemas["TrackerTestView"] | "asked" | null>(null);
  const test = async () => {
    setProblem(null);
    setTested("asked");
    const { data, error } = await http.POST("/api/platform/settings/issues/test", {});
    setTested(data ?? null);
    setProblem(error ?? null);
  };
  const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  const unsaved = !same(
    [kind, url, project, labels, secret],
    [view.kind, view.base_url, view.project, view.labels.join(", "), view.token?.$secret ?? ""],
  );
  const save = async () => {
    const { error } = await http.PUT("/api/platform/settings/issues", {
      body: {
        kind,
        base_url: url.trim(),
        project: project.trim(),
        projects: view.projects,
        labels: labels
          .split(",")
          .map((label) => label.trim())
          .filter(Boolean),
        token: secret.trim() ? { $secret: secret.trim() } : null,
        if_revision: view.revision,
      } as never,
    });
    setProblem(error ?? null);
    if (error) return;
    notifications.show({ message: "Saved." });
    onSaved();
  };
  return (
    <Stack gap="md" maw={560}>
      <Text c="dimmed">“Report issue” on a deployment sends what is known of it there.</Text>
      <Select
        label="Tracker"
        allowDeselect={false}
        data={KINDS}
        value={kind}
        onChange={(value) => setKind((value ?? "none") as View["kind"])}
      />
      {kind !== "none" && (
        <>
          <TextInput
            label="Address"
            description="Empty: the service's public one"
            value={url}
            onChange={(event) => setUrl(event.currentTarget.value)}
          />
          <TextInput
            label="Project"
            placeholder="owner/name"
            value={project}
            onChange={(event) => setProject(event.currentTarget.value)}
          />
          <TextInput
            label="Labels"
            description="With commas between them"
            value={labels}
            onChange={(event) => setLabels(event.currentTarget.value)}
          />
          <TextInput
            label="Name of the secret with its token"
            value={secret}
            onChange={(event) => setSecret(event.currentTarget.value)}
          />
        </>
      )}
      {problem !== null && <Failed error={problem} />}
      <Group>
        <Button onClick={() => void save()}>Save</Button>
        {view.kind !== "none" && (
          <Action
            variant="default"
            why={unsaved ? "Save it first: what is saved is tested." : ""}
            loading={tested === "asked"}
            onAct={() => void test()}
          >
            Test connection
          </Action>
        )}
        {tested !== null && tested !== "asked" && (
          <Text size="sm" role="status" className={tested.reached ? "tone-good cut" : "tone-bad cut"}>
            {tested.reached
              ? `It answered in ${Math.round(tested.duration_ms)} ms; nothing was opened there.`
              : `It cannot be used: ${tested.problem}`}
          </Text>
        )}
      </Group>
    </Stack>
  );
}
