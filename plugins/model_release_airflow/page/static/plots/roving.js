// One stop of the tabulator for a whole picture; the arrows go from sign to sign.

let last; // the key of the sign that had the focus, in whatever drawing of the picture

const signs = (svg) => [...svg.querySelectorAll("[tabindex]")].sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left);

/** Leave one of the signs of a picture that was just drawn to the tabulator. */
export function rove(svg) {
  const found = [...svg.querySelectorAll("[tabindex]")];
  const first = found.find((sign) => sign.dataset.key === last) ?? found.at(-1);
  found.forEach((sign) => sign.setAttribute("tabindex", sign === first ? 0 : -1));
  return svg;
}

/** What a picture does with a key that was pressed in it. */
export function moved(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  const found = signs(event.currentTarget);
  const from = found.indexOf(document.activeElement);
  const to = found[Math.max(0, Math.min(found.length - 1, from + step))];
  event.preventDefault();
  found.forEach((sign) => sign.setAttribute("tabindex", sign === to ? 0 : -1));
  last = to.dataset.key;
  to.focus();
}
