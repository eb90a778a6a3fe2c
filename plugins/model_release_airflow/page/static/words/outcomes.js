// How a release ended, as a sign.

import { s } from "../dom.js";
import { shape } from "../plots/shapes.js";

const VERDICT = {
  released: "pass", passed: "pass", unlatched: "pass",
  open: "inconclusive", judged: "inconclusive", asked: "inconclusive", switching: "inconclusive", on_trial: "inconclusive",
  latched: "error", put_back: "error", rolled_back: "error", trial_ended: "error", noted: "error",
  rejected: "fail", failed: "fail", declined: "fail",
};
const GOING = new Set(["open", "asked", "switching", "on_trial", "passed"]);

export const verdictOf = (outcome) => VERDICT[outcome] ?? "error";
export const isGoing = (outcome) => GOING.has(outcome);

/** Return the sign of an outcome around 0, 0; one with an arrow went back. */
export function outcomeSign(outcome) {
  if (["put_back", "rolled_back", "trial_ended"].includes(outcome))
    return s("path", { d: "M6 4A6.5 6.5 0 1 0 -1 6M-6.5 -4V2H-0.5", class: "sign back", transform: "rotate(-20)" });
  if (outcome === "latched" || outcome === "unlatched")
    return s("path", { d: `M-5 -1H5V6H-5Z M-3 -1V-4A3 3 0 0 1 3 -4${outcome === "latched" ? "V-1" : ""}`, class: `sign lock ${outcome}` });
  return shape(verdictOf(outcome), !isGoing(outcome));
}

export const outcomeIcon = (outcome) => s("svg", { class: "inline", viewBox: "-9 -9 18 18", "aria-hidden": "true" }, outcomeSign(outcome));
