// A small line over the last hour, with gaps where nothing was measured.

import { s } from "../dom.js";

const WIDTH = 200;
const HEIGHT = 44;

/** Draw `line` ({values}); `label` says what it shows, for who can't see it. */
export function spark(line, label) {
  const values = line.values;
  const highest = Math.max(...values.filter((value) => value !== null), 0) || 1;
  const x = (place) => (place / Math.max(1, values.length - 1)) * WIDTH;
  const y = (value) => HEIGHT - 3 - (value / highest) * (HEIGHT - 8);
  let path = "";
  let area = "";
  let open = null;
  values.forEach((value, place) => {
    if (value === null || value === undefined) {
      if (open !== null) area += `L${x(place - 1)} ${HEIGHT}Z`;
      open = null;
      return;
    }
    path += `${open === null ? "M" : "L"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
    area += open === null ? `M${x(place)} ${HEIGHT}L${x(place).toFixed(1)} ${y(value).toFixed(1)}` : `L${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
    open = place;
  });
  if (open !== null) area += `L${x(values.length - 1)} ${HEIGHT}Z`;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label },
    s("path", { d: area, class: "area" }),
    s("path", { d: path, class: "line", "vector-effect": "non-scaling-stroke" }),
  );
}
