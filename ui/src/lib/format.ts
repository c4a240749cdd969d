/** The only place that turns numbers and times into text. */
const number1 = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const number0 = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const timeOfDay = new Intl.DateTimeFormat("en", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

export const NONE = "–";

export function percent(value: number | null | undefined): string {
  return value == null ? NONE : `${number1.format(value)} %`;
}

export function milliseconds(value: number | null | undefined): string {
  return value == null ? NONE : `${value < 10 ? number1.format(value) : number0.format(value)} ms`;
}

export function perSecond(value: number | null | undefined): string {
  return value == null ? NONE : `${number1.format(value)}/s`;
}

export function count(value: number | null | undefined): string {
  return value == null ? NONE : number0.format(value);
}

/** 45 s, 3 min 5 s, 2 h 10 min, 4 d. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export function ago(at: string, now: number): string {
  const seconds = (now - Date.parse(at)) / 1000;
  return seconds < 0 ? `in ${duration(-seconds)}` : seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

export function absolute(at: string): string {
  return moment.format(new Date(at));
}

/** The time of day, of seconds since 1970. */
export function clock(seconds: number): string {
  return timeOfDay.format(new Date(1000 * seconds));
}

export function date(at: string): string {
  return day.format(new Date(at));
}

/** route_traffic_25 → "Route 25 % to the new version". What is not known is shown as it is, readable. */
export function stageName(stage: string): string {
  const traffic = /^route_traffic_(\d+)$/.exec(stage);
  if (traffic) return traffic[1] === "0" ? "Take traffic back" : `Route ${traffic[1]} % to the new version`;
  const watch = /^monitor_metrics_(\d+)$/.exec(stage);
  if (watch) return `Watch at ${watch[1]} %`;
  const batch = /^(promote|replace)_batch_(\d+)_of_(\d+)$/.exec(stage);
  if (batch) return `${batch[1] === "promote" ? "Promote" : "Replace"} batch ${batch[2]} of ${batch[3]}`;
  const words = stage.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** How the new side compares: a word, an arrow and a share, never a colour alone. */
export function difference(before: number | null | undefined, after: number | null | undefined): string {
  if (before == null || after == null) return "";
  if (before === 0) return after === 0 ? "the same" : "";
  const change = (100 * (after - before)) / before;
  if (Math.abs(change) < 1) return "about the same";
  return `${change > 0 ? "▲ +" : "▼ −"}${number0.format(Math.abs(change))} %`;
}
