// Elements from plain values. Whatever comes from a model, an alert or a person becomes text here, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Make an HTML element: h("p", {class: "x", onclick: f}, "text", [more]). Attributes that are null or false are left out. */
export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

/** Make an SVG element, the same way. */
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Replace what a section holds, and leave the focus where it was: data-key says which elements are the same. */
export function show(section, ...children) {
  const key = section.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  section.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (key) [...section.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
}

/** Tell a screen reader, once. */
export function say(text) {
  document.getElementById("said").textContent = text;
}
