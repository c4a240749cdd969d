/** What the server has to tell whoever sits there: the count is live, each entry leads to what it is about. Loaded once it is opened. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { api, http, type Schemas } from "../../api/client";
import { Dialog } from "../../components/dialog";
import { Asked, Empty } from "../../components/panel";
import { Status } from "../../components/status";
import { Time } from "../../components/time";
import type { Tone } from "../../theme/tokens";

type Entry = Schemas["NotificationView"];

const TONES: Record<string, [Tone, string]> = {
  info: ["quiet", "Info"],
  warning: ["warn", "Warning"],
  error: ["bad", "Error"],
  critical: ["bad", "Critical"],
};

export function Tray({ onClose }: { onClose: () => void }) {
  const found = api.useQuery("get", "/api/platform/notifications", { params: { query: { limit: 50 } } });
  const read = async (entry: Entry) => {
    if (entry.read) return;
    await http.POST("/api/platform/notifications/{notification_id}/read", {
      params: { path: { notification_id: entry.notification_id } },
    });
    await found.refetch();
  };
  const readAll = async () => {
    await http.POST("/api/platform/notifications/read-all");
    await found.refetch();
  };
  const unread = found.data?.unread_count ?? 0;
  return (
    <Dialog title="Notifications" onClose={onClose}>
      <Stack gap="md">
        <Group justify="space-between">
          <Text c="dimmed" role="status">
            {unread ? `${unread} not read yet` : "All are read"}
          </Text>
          <Button size="compact-md" variant="default" disabled={!unread} onClick={() => void readAll()}>
            Mark all as read
          </Button>
        </Group>
        <Asked question={found} lines={6}>
          {found.data?.notifications.length ? (
            <ul className="steps" aria-label="Notifications, newest first">
              {found.data.notifications.map((entry) => (
                <Told key={entry.notification_id} entry={entry} onRead={() => void read(entry)} onClose={onClose} />
              ))}
            </ul>
          ) : (
            <Empty title="Nothing happened yet">
              Deployments that end, versions that come, and what needs somebody is told here.
            </Empty>
          )}
        </Asked>
      </Stack>
    </Dialog>
  );
}

function Told({ entry, onRead, onClose }: { entry: Entry; onRead: () => void; onClose: () => void }) {
  const [tone, word] = TONES[entry.severity] ?? ["quiet", entry.severity];
  const seen = () => {
    onRead();
    onClose();
  };
  return (
    <li className="case" data-unread={entry.read ? undefined : true}>
      <Group justify="space-between" gap="xs" wrap="nowrap" align="flex-start">
        <div>
          <Text fw={entry.read ? 400 : 650} className="cut">
            {entry.title}
            {entry.count > 1 ? ` (${entry.count} ×)` : ""}
          </Text>
          <Text size="sm" className="cut">
            {entry.message}
          </Text>
          <Group gap="sm" mt={2}>
            {entry.agent_id && entry.upgrade_id ? (
              <Link
                to="/agents/$agentId/deployments/$upgradeId"
                params={{ agentId: entry.agent_id, upgradeId: entry.upgrade_id }}
                className="link"
                onClick={seen}
              >
                See the deployment
              </Link>
            ) : entry.agent_id ? (
              <Link to="/agents/$agentId" params={{ agentId: entry.agent_id }} className="link" onClick={seen}>
                See {entry.agent_id}
              </Link>
            ) : null}
            {!entry.read && (
              <button type="button" className="link" onClick={onRead} aria-label={`Mark as read: ${entry.title}`}>
                Mark as read
              </button>
            )}
          </Group>
        </div>
        <Stack gap={0} align="flex-end">
          <Status tone={tone}>{word}</Status>
          <Text size="sm" c="dimmed" component="div">
            <Time at={entry.last_at} />
          </Text>
        </Stack>
      </Group>
    </li>
  );
}
