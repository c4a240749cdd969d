/** The only place that turns numbers and times into text. */
const number1 = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const number0 = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
/** Times are those of this browser, or UTC for all who look: kept in this browser, read once, so that everything on a page agrees. */
export type Zone = "local" | "utc";
const ZONE_KEY = "time-zone";

export function chosenZone(): Zone {
  try {
    return localStorage.getItem(ZONE_KEY) === "utc" ? "utc" : "local";
  } catch {
    return "local";
  }
}

/** For the next time the page is loaded. */
export function chooseZone(zone: Zone): void {
  localStorage.setItem(ZONE_KEY, zone);
}

const zone = { timeZone: chosenZone() === "utc" ? "UTC" : undefined };
const moment = new Intl.DateTimeFormat("en", {
  ...zone,
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});
const time = new Intl.DateTimeFormat("en", {
  ...zone,
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { ...zone, dateStyle: "medium" });

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

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** In steps of a thousand: 512 B, 1.4 kB, 105 MB. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return NONE;
  const step = Math.min(SIZES.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  const size = value / 1000 ** step;
  return `${(size < 10 ? number1 : number0).format(size)} ${SIZES[step]}`;
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

/** In the largest unit only: nobody reads the seconds of something hours ago, and a list whose every line changes all the time cannot be read. */
export function ago(at: string, now: number): string {
  const seconds = (now - Date.parse(at)) / 1000;
  return seconds < 0 ? `in ${about(-seconds)}` : seconds < 5 ? "just now" : `${about(seconds)} ago`;
}

/** From when a moment is told, by a page that moves on in ticks: what happened after the last one has happened, and is not still to come. */
export function since(at: string, tick: number, now: number): number {
  return Math.max(tick, Math.min(Date.parse(at), now));
}

function about(seconds: number): string {
  const unit = [3600, 60, 1].find((each) => seconds >= each) ?? 1;
  return duration(Math.floor(seconds / unit) * unit);
}

/** How long something short took; what is over in no time has taken some all the same. */
export function took(seconds: number | null | undefined): string {
  if (seconds == null || seconds >= 10) return duration(seconds);
  return seconds < 0.1 ? "< 0.1 s" : `${number1.format(seconds)} s`;
}

/** 1 request, 2 requests. */
export function counted(value: number, one: string): string {
  return `${count(value)} ${one}${value === 1 ? "" : "s"}`;
}

/** With the time zone: whoever reads it may sit elsewhere. */
export function absolute(at: string): string {
  return moment.format(new Date(at));
}

/** Seconds since 1970 as a time of day, for the axis of a chart. */
export function clock(seconds: number): string {
  return time.format(seconds * 1000);
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
