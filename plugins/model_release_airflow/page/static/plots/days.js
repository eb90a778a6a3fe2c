// One metric over the days: what was observed, with its interval, against what was promised; and scores over the releases.

import { h, s } from "../dom.js";
import { day, number, percent } from "../format.js";
import { t } from "../look.js";

const HEIGHT = 64;
const ROOM = 6;

/** Give places between the lowest and the highest of `values`, from the top down. */
function scale(values, height = HEIGHT) {
  const known = values.filter((value) => value !== undefined && value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const reach = high - low || Math.abs(high) || 1;
  return { low, high, y: (value) => height - ROOM - ((value - low) / reach) * (height - 2 * ROOM) };
}

const DAY = 86400000;

/** Draw `strip` ({metric, points}) from `first` to `last`; `verdict(result)` gives the colour; a day without a point is a gap. */
export function strip({ points }, first, last, label, verdict) {
  const [from, to] = [Date.parse(first), Date.parse(last)];
  const { low, high, y } = scale(points.flatMap((one) => [one.mean, one.lower, one.upper, one.promised]));
  const days = Math.round((to - from) / DAY) + 1;
  const wide = 100 / days;
  const x = (date, share) => `${(((Date.parse(date) - from) / DAY + share) * wide).toFixed(2)}%`;
  const drawn = points.map((one) => [
    one.promised !== undefined && s("line", { x1: x(one.date, 0.1), x2: x(one.date, 0.9), y1: y(one.promised), y2: y(one.promised), class: "limit" }),
    one.mean !== undefined &&
      s(
        "g",
        { class: `plot ${verdict(one.result)}` },
        s("title", {}, `${day(one.date)}: ${percent(one.mean)}, ${t("promised")} ${one.promised === undefined ? "–" : percent(one.promised)} · ${t(`result_${one.result}`)} · ${one.run_id ?? t("no_run")}`),
        one.lower !== undefined && one.upper !== undefined && s("line", { x1: x(one.date, 0.5), x2: x(one.date, 0.5), y1: y(one.lower), y2: y(one.upper), class: "interval" }),
        s("circle", { cx: x(one.date, 0.5), cy: y(one.mean), r: 3.6, class: `sign ${verdict(one.result)}${one.complete ? "" : " hollow"}` }),
      ),
  ]);
  return h(
    "figure",
    { class: "strip" },
    h("div", { class: "scale-y quiet", "aria-hidden": "true" }, h("span", {}, percent(high)), h("span", {}, percent(low))),
    s("svg", { height: HEIGHT, role: "img", "aria-label": label }, drawn),
    h("figcaption", { class: "quiet" }, h("span", {}, day(first)), days > 1 && h("span", {}, day(last))),
  );
}

/** Draw the scores of a table ({points}) over the releases, and the score that was wanted as a dashed line. */
export function scores({ points }, label, first, last) {
  const height = 44;
  const { y } = scale([...points.flatMap((one) => [one.score, one.wanted]), 100], height);
  const at = (place) => (points.length === 1 ? 50 : 1.5 + (place / (points.length - 1)) * 97);
  const path = (name) =>
    points.length === 1 && name === "wanted" && points[0].wanted !== undefined ? `M1.5 ${y(points[0].wanted)}H98.5` :
    points.reduce((found, one, place) => {
      if (one[name] === undefined) return found;
      const before = place > 0 && points[place - 1][name] !== undefined;
      return `${found}${before ? "L" : "M"}${at(place).toFixed(2)} ${y(one[name]).toFixed(1)}`;
    }, "");
  const bad = (one) => one.verdict !== "pass";
  return h(
    "figure",
    { class: "scores" },
    s(
      "svg",
      { height, role: "img", "aria-label": label },
      s("svg", { viewBox: `0 0 100 ${height}`, width: "100%", height, preserveAspectRatio: "none", class: "spark" }, s("path", { d: path("wanted"), class: "wanted", "vector-effect": "non-scaling-stroke" }), s("path", { d: path("score"), class: "line", "vector-effect": "non-scaling-stroke" })),
      points.map((one, place) => one.score !== undefined && s("circle", { cx: `${at(place)}%`, cy: y(one.score), r: 3, class: `sign ${bad(one) ? "fail" : "score"}` }, s("title", {}, `${number(one.score)} · ${t("wanted")} ${one.wanted === undefined ? "–" : number(one.wanted)}`))),
    ),
    h("figcaption", { class: "quiet" }, h("span", {}, first), points.length > 1 && h("span", {}, last)),
  );
}

/** Draw shares from 0 to 1 as points on a line, each with its name. */
export const shares = (found, label) =>
  h(
    "figure",
    { class: "shares" },
    s(
      "svg",
      { height: 26, role: "img", "aria-label": label, class: "plot pass" },
      s("line", { x1: "1%", x2: "99%", y1: "50%", y2: "50%", class: "ground" }),
      found.map(({ value, name }) => s("circle", { cx: `${(1 + value * 98).toFixed(2)}%`, cy: "50%", r: 4.5, class: "share" }, s("title", {}, `${name}: ${number(value)}`))),
    ),
    h("figcaption", { class: "quiet" }, h("span", {}, "0"), h("span", {}, "1")),
  );
