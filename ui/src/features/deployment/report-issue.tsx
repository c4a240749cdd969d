/** “Report issue”: what is known of a deployment becomes a bundle, and a ticket where a tracker is set. */
import { Anchor, Button, Group, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Ends } from "../../components/ends";

type Issue = Schemas["IssueView"];
const SENT: Record<Issue["status"], string> = {
  kept: "It is kept here; no tracker is set.",
  sending: "It is on its way to the tracker.",
  opened: "It was opened in the tracker.",
  failed: "The tracker did not take it; it is kept here and tried again.",
};

export function ReportIssue({ deployment, onClose }: { deployment: Schemas["DeploymentView"]; onClose: () => void }) {
  const cause = deployment.rollback?.reason;
  const [title, setTitle] = useState(
    `${deployment.agent_id} ${deployment.to_version}${cause ? `: ${cause}` : ""}`.slice(0, 200),
  );
  const [note, setNote] = useState("");
  const [made, setMade] = useState<Issue | null>(null);
  const send = () =>
    http.POST("/api/platform/agents/{agent_id}/issues", {
      params: { path: { agent_id: deployment.agent_id } },
      body: { title, note, upgrade_id: deployment.upgrade_id } as never,
    });
  return (
    <Dialog title="Report issue" onClose={onClose}>
      {made ? (
        <Stack gap="md" role="status">
          <Text>{SENT[made.status]}</Text>
          {made.url && (
            <Anchor href={made.url} underline="always" rel="noreferrer" target="_blank">
              {made.url}
            </Anchor>
          )}
          <Anchor
            href={`/api/platform/agents/${encodeURIComponent(made.agent_id)}/issues/${made.issue_id}/bundle`}
            underline="always"
          >
            Download the bundle
          </Anchor>
          <Group justify="flex-end">
            <Button onClick={onClose}>Done</Button>
          </Group>
        </Stack>
      ) : (
        <Stack gap="md">
          <Text>
            Stages, events, figures, what was measured and the logs of its instances go into one bundle; secrets are
            left out.
          </Text>
          <TextInput
            label="Title"
            required
            maxLength={200}
            value={title}
            onChange={(event) => setTitle(event.currentTarget.value)}
          />
          <Textarea
            label="Note"
            description="What you saw"
            autosize
            minRows={3}
            data-autofocus
            maxLength={2000}
            value={note}
            onChange={(event) => setNote(event.currentTarget.value)}
          />
          <Ends
            act="Report it"
            missing={!title.trim()}
            onAct={send}
            onDone={(issue) => setMade(issue ?? null)}
            onClose={onClose}
          />
        </Stack>
      )}
    </Dialog>
  );
}
