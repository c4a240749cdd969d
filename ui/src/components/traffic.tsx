/** Who gets which share, as a bar and in words. The new side has a pattern, so that the two differ without colour. */
import { Group, Text } from "@mantine/core";
import { percent } from "../lib/format";

interface Side {
  version: string | null;
  traffic_percent: number | null;
}

export function Traffic({ blue, green, words = true }: { blue: Side | null; green: Side | null; words?: boolean }) {
  const old = blue?.traffic_percent ?? 0;
  const fresh = green?.traffic_percent ?? 0;
  return (
    <div>
      <div
        className="bar"
        role="img"
        aria-label={`${blue?.version ?? "nothing"} has ${percent(old)}, ${green?.version ?? "nothing"} has ${percent(fresh)} of the traffic`}
      >
        {old > 0 && (
          <div className="bar-side bar-blue" style={{ flexGrow: old }}>
            {blue?.version} {percent(old)}
          </div>
        )}
        {fresh > 0 && (
          <div className="bar-side bar-green" style={{ flexGrow: fresh }}>
            {green?.version} {percent(fresh)}
          </div>
        )}
      </div>
      {words && (
        <Group justify="space-between" mt={4}>
          <Text size="sm" c="dimmed">
            Now {blue?.version ?? "–"}: {percent(blue?.traffic_percent)}
          </Text>
          <Text size="sm" c="dimmed">
            New {green?.version ?? "–"}: {percent(green?.traffic_percent)}
          </Text>
        </Group>
      )}
    </div>
  );
}
