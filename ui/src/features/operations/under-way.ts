/** Which of the open deployments somebody has to look after now, which begin at their time, and how that is said. */
import { isOver, isWaiting } from "../../lib/deployments";

interface Open {
  status: string;
  approval_wanted: boolean;
  approved_by: string | null;
  requested_at: string;
  scheduled_at: string | null;
}

interface Counts {
  running: number;
  waiting: number;
}

/** What a second person has to approve waits for that person, whenever it is to begin. */
export function isUnapproved({ approval_wanted: wanted, approved_by: by }: Open): boolean {
  return wanted && by === null;
}

/** Those that move something before those that wait for their turn or for somebody; of each the one that was asked for first before the others. */
export function underWay<T extends Open>(open: readonly T[]): T[] {
  const first = [...open].sort((one, other) => one.requested_at.localeCompare(other.requested_at));
  const running = first.filter((each) => !isOver(each.status) && !isWaiting(each.status));
  const waiting = first.filter((each) => each.status === "queued" || (isWaiting(each.status) && isUnapproved(each)));
  return [...running, ...waiting];
}

/** What begins by itself, the next one first. */
export function comingUp<T extends Open>(open: readonly T[], most: number): T[] {
  const at = (each: T) => Date.parse(each.scheduled_at ?? "");
  return open
    .filter((each) => each.status === "scheduled" && each.scheduled_at !== null)
    .sort((one, other) => at(one) - at(other))
    .slice(0, most);
}

/** 2 running, 1 waiting; empty where there is neither. */
export function inWords({ running, waiting }: Counts): string {
  return [running && `${running} running`, waiting && `${waiting} waiting`].filter(Boolean).join(", ");
}
