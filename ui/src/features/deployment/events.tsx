/** What the connection tells of an agent from now on, each once, newest first; the newest is read out. */
import { Text } from "@mantine/core";
import { memo, useCallback, useState } from "react";
import type { LiveEvent } from "../../api/live";
import { useEvents } from "../../app/live";
import { Panel } from "../../components/panel";
import { Time } from "../../components/time";
import { stageName } from "../../lib/format";

const FEED = 30;
const UNTOLD = new Set(["metrics_update", "snapshot", "heartbeat", "pong"]);

export const Events = memo(({ agent }: { agent: string }) => {
  const [events, setEvents] = useState<LiveEvent[]>([]);
  const take = useCallback(
    (event: LiveEvent) => {
      const told = event.back || (!UNTOLD.has(event.event) && event.agent_id === agent);
      if (!told) return;
      setEvents((before) => [event, ...before].slice(0, FEED));
    },
    [agent],
  );
  useEvents(take);
  const newest = events[0];
  return (
    <Panel title="Events since you look">
      <div role="status" aria-live="polite">
        {newest ? <Told event={newest} /> : <Text c="dimmed">What happens from now on stands here.</Text>}
      </div>
      {events.slice(1).map((event) => (
        <Told key={`${event.seq} ${event.event}`} event={event} />
      ))}
    </Panel>
  );
});

function Told({ event }: { event: LiveEvent }) {
  const what = event.back
    ? "the connection is back; what happened meanwhile follows"
    : event.event.replaceAll("_", " ");
  const details = [event.stage ? stageName(String(event.stage)) : "", event.instance, event.reason]
    .filter(Boolean)
    .join(", ");
  return (
    <Text size="sm" component="div" className="cut" data-seq={event.back ? undefined : event.seq}>
      <Time at={event.at} />: {what}
      {details ? ` (${details})` : ""}
    </Text>
  );
}
