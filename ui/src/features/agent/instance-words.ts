/** What is said of an instance. */
import type { Schemas } from "../../api/client";
import { counted } from "../../lib/format";

type Instance = Schemas["InstanceView"];

export const POOLS: Record<string, string> = { stable: "Blue: serves", candidate: "Green: new", other: "Leaves" };

/** How its last health checks went; counted up to what the manifest asks for, so the server knows no more either. */
export function checks(instance: Pick<Instance, "healthy_in_a_row" | "unhealthy_in_a_row">): string {
  if (instance.unhealthy_in_a_row) return `failed ${times(instance.unhealthy_in_a_row)} in a row`;
  return instance.healthy_in_a_row ? `passed, at least ${times(instance.healthy_in_a_row)} in a row` : "";
}

const times = (number: number): string => (number === 1 ? "once" : `${number} times`);

/** Seconds since its process began; null while there is none. */
export function uptime(instance: Pick<Instance, "started_at" | "status">, now: number): number | null {
  const over = instance.status === "stopped" || instance.status === "failed";
  return instance.started_at && !over ? Math.max(0, (now - Date.parse(instance.started_at)) / 1000) : null;
}

export function busy(instance: Pick<Instance, "in_flight" | "active_streams" | "open_conversations">): string {
  const parts = [
    instance.in_flight == null ? "" : counted(instance.in_flight, "request"),
    instance.active_streams ? counted(instance.active_streams, "stream") : "",
    instance.open_conversations ? counted(instance.open_conversations, "conversation") : "",
  ].filter(Boolean);
  return parts.join(", ") || "–";
}
