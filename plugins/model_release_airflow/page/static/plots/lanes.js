// What served, what was on trial and when nothing was released automatically, over time; and each release where it began.

import { h, s } from "../dom.js";
import { offset, seconds, time, trial, written } from "../format.js";
import { t } from "../look.js";
import { moved, rove } from "./roving.js";
import { outcomeSign } from "../words/outcomes.js";

const LANES = [
  { key: "served", y: 8, height: 30 },
  { key: "tried", y: 46, height: 20 },
  { key: "latched", y: 74, height: 12 },
];
const DOTS = 106;
const AXIS = 126;
const HEIGHT = 146;
const LEFT = 10; // room for a sign at the very edge
const STEPS = [60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 91 * 86400, 182 * 86400, 365 * 86400];

/**
 * Draw a timeline, `width` pixels wide.
 * `open(release_id)` opens a release, `zoom(start, end)` another stretch, in seconds.
 */
export function lanes(data, width, { open, zoom }) {
  const [from, to] = [seconds(data.start), seconds(data.end)];
  const x = (at) => LEFT + ((at - from) / (to - from)) * (width - 2 * LEFT);
  const svg = s(
    "svg",
    { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, class: "lanes", role: "group", onkeydown: moved, "aria-label": t("timeline_of", { from: time(data.start), to: time(data.end) }), ...drag(width, (a, b) => zoom(from + ((a - LEFT) / (width - 2 * LEFT)) * (to - from), from + ((b - LEFT) / (width - 2 * LEFT)) * (to - from))) },
    axis(from, to, x, width),
    LANES.map(({ key, y, height }) => data[key].map((piece) => block(key, piece, y, height, x, from, to, open))),
    data.news.map((one) => s("line", { x1: x(seconds(one.at)), x2: x(seconds(one.at)), y1: 90, y2: 98, class: "news" }, s("title", {}, `${time(one.at)}\n${one.reason}`))),
    dots(data.dots, x, open),
    s("rect", { y: 0, height: AXIS, class: "chosen", width: 0 }),
  );
  return rove(svg);
}

function block(key, piece, y, height, x, from, to, open) {
  const since = Math.max(from, seconds(piece.since));
  const until = Math.min(to, piece.until ? seconds(piece.until) : to);
  const [a, b] = [x(since), Math.max(x(since) + 4, x(until))];
  const name = key === "latched" ? t("latched") : (piece.run_id ?? t("no_run"));
  const about = key === "latched" ? piece.reason : key === "tried" ? trial(piece.mode, piece.rollout) : `${t("generation")} ${piece.generation}`;
  const lasted = `${time(piece.since)} – ${piece.until ? time(piece.until) : t("now")}`;
  const shown = b - a > 46;
  const goes = key === "tried";
  return s(
    "g",
    {
      class: `block ${key}${piece.until ? "" : " going"}${piece.run_id || key === "latched" ? "" : " none"}`,
      "data-key": `${key}${piece.since}`,
      ...(goes ? { tabindex: -1, role: "link", "aria-label": `${name}, ${about}, ${lasted}`, onclick: () => open(piece.release_id), onkeydown: pressed(() => open(piece.release_id)) } : { tabindex: -1, role: "img", "aria-label": `${name}, ${about}, ${lasted}` }),
    },
    s("title", {}, `${name}\n${about}\n${lasted}`),
    s("rect", { x: a, y, width: b - a - 1, height, rx: 4 }),
    shown && s("svg", { x: a, y, width: b - a - 4, height }, s("text", { x: 6, y: height / 2 + 4 }, key === "tried" ? `${name} · ${about}` : key === "latched" ? t("latched") : name)),
  );
}

/** Releases that began at almost the same place share one sign, which says how many they are. */
function dots(found, x, open) {
  const groups = [];
  for (const dot of [...found].reverse()) {
    const place = x(seconds(dot.at));
    const last = groups.at(-1);
    if (last && place - last.place < 16) last.dots.push(dot);
    else groups.push({ place, dots: [dot] });
  }
  return groups.map(({ place, dots: group }) => {
    const worst = group.find((dot) => ["failed", "rejected", "rolled_back", "put_back"].includes(dot.outcome)) ?? group.at(-1);
    const label = group.map((dot) => `${time(dot.at)}: ${t(`outcome_${dot.outcome}`)} ${dot.run_id ?? ""}`).join("\n");
    const go = () => open(worst.release_id);
    return s(
      "g",
      { class: "dot", transform: `translate(${place} ${DOTS})`, tabindex: -1, role: "link", "aria-label": label, "data-key": `dot${worst.release_id}`, onclick: go, onkeydown: pressed(go) },
      s("title", {}, label),
      s("circle", { r: 11, class: "touch" }),
      outcomeSign(worst.outcome),
      group.length > 1 && s("text", { x: 8, y: -4, class: "many" }, group.length),
    );
  });
}

function axis(from, to, x, width) {
  const step = STEPS.find((one) => (to - from) / one <= width / 90) ?? STEPS.at(-1);
  const daily = step >= 86400;
  const ticks = [];
  // whole days and hours of the chosen zone, also where its clocks are changed
  for (let local = Math.ceil((from + offset(from)) / step) * step; ; local += step) {
    const at = local - offset(local - offset(local));
    if (at >= to) break;
    if (at >= from) ticks.push(at);
  }
  const words = written(daily ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", ...(to - from > 86400 ? { day: "numeric", month: "short" } : {}) });
  return ticks.map((at) => [
    s("line", { x1: x(at), x2: x(at), y1: 2, y2: AXIS, class: "tick" }),
    x(at) < width - 44 && s("text", { x: x(at) + 3, y: AXIS + 14, class: "axis" }, words(at)),
  ]);
}

function pressed(action) {
  return (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action();
  };
}

let start = null; // where the mouse was pressed; there is one mouse

/** Choose a stretch with the mouse; a finger scrolls the page, and zooms by the buttons. */
function drag(width, chosen) {
  const place = (event) => Math.max(0, Math.min(width, event.clientX - event.currentTarget.getBoundingClientRect().left));
  const mark = (event, x, wide) => {
    const shown = event.currentTarget.querySelector(".chosen");
    shown.setAttribute("x", x);
    shown.setAttribute("width", wide);
  };
  const end = (event) => {
    if (start === null) return;
    const [a, b] = [Math.min(start, place(event)), Math.max(start, place(event))];
    start = null;
    mark(event, 0, 0);
    if (b - a > 8) chosen(a, b);
  };
  return {
    onpointerdown: (event) => {
      if (event.pointerType === "mouse" && event.button === 0) start = place(event);
    },
    onpointermove: (event) => {
      if (start !== null) mark(event, Math.min(start, place(event)), Math.abs(place(event) - start));
    },
    onpointerup: end,
    onpointerleave: end,
  };
}

/** What the colours mean. */
export const legend = () =>
  h("ul", { class: "legend" }, ["served", "tried", "latched"].map((key) => h("li", { class: key }, h("span", { "aria-hidden": "true" }), t(`lane_${key}`))));
