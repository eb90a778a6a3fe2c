// Times, shares and names as people read them.

import { locale, t, zone } from "./look.js";

const cache = new Map();
function formatter(kind, options) {
  const key = `${locale} ${kind} ${JSON.stringify(options)}`;
  if (!cache.has(key)) cache.set(key, new Intl[kind](locale, options));
  return cache.get(key);
}

const dates = (options) => formatter("DateTimeFormat", { ...options, timeZone: zone });

export const seconds = (at) => new Date(at).getTime() / 1000;

/** A time in the zone that was chosen: "25 Nov 2026, 14:29:07". */
export const time = (at) => dates({ dateStyle: "medium", timeStyle: "medium" }).format(new Date(at));

/** A day of a calendar, which has no zone: "2026-11-25" becomes "25 Nov". */
export const day = (date) => formatter("DateTimeFormat", { month: "short", day: "numeric", timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`));

/** How far the chosen zone is from UTC at a time, both in seconds. */
export function offset(at) {
  const parts = formatter("DateTimeFormat", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" })
    .formatToParts(new Date(at * 1000))
    .reduce((found, { type, value }) => ({ ...found, [type]: Number(value) }), {});
  return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second) / 1000 - Math.floor(at);
}

/** The zone of all times: "Asia/Shanghai (UTC+8)". */
export function zoneName() {
  const part = dates({ timeZoneName: "shortOffset" }).formatToParts(new Date()).find(({ type }) => type === "timeZoneName");
  const from = part.value.replace("GMT", "UTC");
  return zone === from ? zone : `${zone} (${from})`;
}

/** Dates and times for an axis. */
export const written = (options) => (at) => dates(options).format(new Date(at * 1000));

/** A time without its year, for lists. */
export const shortTime = (at) =>
  dates({ month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(new Date(at));

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** How long ago: "3 minutes ago". */
export function ago(at) {
  const passed = seconds(at) - Date.now() / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(passed) >= length) ?? UNITS.at(-1);
  return formatter("RelativeTimeFormat", { numeric: "auto" }).format(Math.round(passed / size), unit);
}

/** A length of time: "4 m 05 s". */
export function span(length) {
  const whole = Math.max(0, Math.round(length));
  if (whole < 60) return t("span_s", { s: whole });
  if (whole < 3600) return t("span_m", { m: Math.floor(whole / 60), s: String(whole % 60).padStart(2, "0") });
  if (whole < 172800) return t("span_h", { h: Math.floor(whole / 3600), m: String(Math.floor((whole % 3600) / 60)).padStart(2, "0") });
  return t("span_d", { d: Math.floor(whole / 86400), h: Math.floor((whole % 86400) / 3600) });
}

export const percent = (share) => formatter("NumberFormat", { style: "percent", maximumFractionDigits: share < 0.1 ? 2 : 1 }).format(share);
export const number = (value) => formatter("NumberFormat", { maximumSignificantDigits: 4 }).format(value);
/** A number with its sign, in as many digits as tell it: "+0.0041". */
export const signed = (value) => formatter("NumberFormat", { signDisplay: "exceptZero", maximumFractionDigits: 4, minimumFractionDigits: 4 }).format(value);
export const decimal = (value) => formatter("NumberFormat", { maximumFractionDigits: 4, minimumFractionDigits: 4 }).format(value);
export const count = (value) => formatter("NumberFormat", {}).format(value);

export function bytes(size) {
  const steps = ["B", "kB", "MB", "GB"];
  const step = Math.min(steps.length - 1, Math.floor(Math.log10(Math.max(1, size)) / 3));
  return `${number(size / 1000 ** step)} ${steps[step]}`;
}

/** "canary 5 %"; nothing for everybody. */
export const trial = (mode, rollout) => `${t(`mode_${mode}`)} ${rollout === undefined ? "" : percent(rollout)}`.trim();
