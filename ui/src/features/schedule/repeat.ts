/** How a freeze or a window repeats: chosen in words, sent as cron. */

export type Every = "day" | "workday" | "weekend" | "month" | "own";

export const EVERY: { value: Every; label: string }[] = [
  { value: "day", label: "Every day" },
  { value: "workday", label: "Monday to Friday" },
  { value: "weekend", label: "Saturday and Sunday" },
  { value: "month", label: "First day of the month" },
  { value: "own", label: "As cron says" },
];

const DAYS: Record<Exclude<Every, "own">, string> = {
  day: "* * *",
  workday: "* * 1-5",
  weekend: "* * 0,6",
  month: "1 * *",
};

/** Five fields, or null while the time of day is not one. What was typed as cron is the server's to judge. */
export function cronOf(every: Every, at: string, own: string): string | null {
  if (every === "own") return own.trim() || null;
  const time = /^([01]\d|2[0-3]):([0-5]\d)/.exec(at);
  return time ? `${Number(time[2])} ${Number(time[1])} ${DAYS[every]}` : null;
}
