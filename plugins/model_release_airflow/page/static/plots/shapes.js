// A verdict has a colour and a shape, so that nobody needs to see the colour. Hollow: it does not block.

import { s } from "../dom.js";

const PATHS = {
  pass: "M5.5 0A5.5 5.5 0 1 1 -5.5 0A5.5 5.5 0 1 1 5.5 0Z",
  inconclusive: "M0 -6.5L6.5 0L0 6.5L-6.5 0Z",
  error: "M-5 -5H5V5H-5Z",
  fail: "M-5.5 -2L-2 -5.5L0 -3.5L2 -5.5L5.5 -2L3.5 0L5.5 2L2 5.5L0 3.5L-2 5.5L-5.5 2L-3.5 0Z",
};

/** Return the sign of a verdict around 0, 0. */
export const shape = (verdict, full = true) => s("path", { d: PATHS[verdict] ?? PATHS.error, class: `sign ${verdict}${full ? "" : " hollow"}` });

/** Return the sign alone, to stand in a line of text; the text beside it says the same. */
export const sign = (verdict, full = true) =>
  s("svg", { class: "inline", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, shape(verdict, full));
