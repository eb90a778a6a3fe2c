// One result of the gate on a line: its value, its interval, the limit, and where no difference lies. Better is to the right.

import { s } from "../dom.js";
import { shape } from "./shapes.js";

const REACH = 3; // margins to both sides of the limit, as in the picture that the gate keeps

const clipped = (value) => Math.max(-REACH, Math.min(REACH, value));
const across = (value) => `${(((clipped(value) + REACH) / (2 * REACH)) * 96 + 2).toFixed(2)}%`;

/** Draw `check` ({place, verdict, blocks}); null if it has no number to draw. */
export function interval(check, label) {
  const place = check.place;
  if (!place) return null;
  const { value, low, high, equal } = place;
  const parts = [
    s("rect", { x: across(0), y: 0, width: "48%", height: "100%", class: "fine" }),
    s("line", { x1: across(0), x2: across(0), y1: 0, y2: "100%", class: "limit" }),
  ];
  if (equal !== undefined) parts.push(s("line", { x1: across(equal), x2: across(equal), y1: 0, y2: "100%", class: "equal" }));
  if (low !== undefined || high !== undefined) {
    const [from, to] = [low ?? -REACH, high ?? REACH];
    parts.push(s("line", { x1: across(from), x2: across(to), y1: "50%", y2: "50%", class: "interval" }));
    parts.push(end(from, low === undefined || Math.abs(low) > REACH, from > REACH ? "right" : "left"), end(to, high === undefined || Math.abs(high) > REACH, to < -REACH ? "left" : "right"));
  }
  if (Math.abs(value) > REACH) parts.push(end(value, true, value < 0 ? "left" : "right"));
  const beside = Math.abs(value) > REACH ? Math.sign(value) * (REACH - 0.2) : value; // of the arrow that says "beyond"
  parts.push(s("svg", { x: across(beside), y: "50%", overflow: "visible" }, shape(check.verdict, check.blocks)));
  return s("svg", { class: `plot ${check.verdict}`, role: "img", "aria-label": label }, parts);
}

function end(value, beyond, side) {
  const mark = beyond
    ? s("path", { d: side === "left" ? "M5 -4L0 0L5 4" : "M-5 -4L0 0L-5 4", class: "beyond" })
    : s("line", { x1: 0, x2: 0, y1: -5, y2: 5, class: "interval" });
  return s("svg", { x: across(value), y: "50%", overflow: "visible" }, mark);
}
