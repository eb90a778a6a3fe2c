// Elements from plain values. Whatever comes from a model, an alert or a person becomes text here, never markup.

const SVG = "http://www.w3.org/2000/svg";
const actions = new WeakMap(); // what each element does, by event: read when it happens, so that it can be exchanged

function listen(element, name, action) {
  const known = actions.get(element) ?? {};
  actions.set(element, known);
  if (!(name in known)) element.addEventListener(name, (event) => actions.get(element)[name]?.(event));
  known[name] = action;
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) listen(element, name.slice(2), value);
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

/**
 * Let a section hold these children. What is there already stays the same element and only takes over what differs, so that
 * focus, scroll, selection and an open list stay where they are; data-key says which of several alike are the same.
 */
export function show(section, ...children) {
  const focused = section.contains(document.activeElement) ? document.activeElement : null;
  reconcile(section, children.flat(Infinity).filter(Boolean));
  if (!focused || document.activeElement === focused) return;
  const key = focused.dataset?.key; // it was moved, or made anew
  const again = focused.isConnected ? focused : key && [...section.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  again?.focus({ preventScroll: true });
}

const keyOf = (node) => node.dataset?.key;
const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function reconcile(parent, wanted) {
  const keyed = new Map([...parent.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  const kept = new Set(wanted.map(keyOf).filter(Boolean));
  let place = parent.firstChild;
  for (const node of wanted) {
    while (place && keyOf(place) && !kept.has(keyOf(place))) place = gone(place);
    const same = keyOf(node) ? keyed.get(keyOf(node)) : place;
    if (!same || !alike(same, node)) {
      parent.insertBefore(node, place);
    } else {
      if (same === place) place = place.nextSibling;
      else parent.insertBefore(same, place);
      adopt(same, node);
    }
  }
  while (place) place = gone(place);
}

function gone(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** Make an element that is shown into what another one is. */
function adopt(old, made) {
  if (old === made) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name) && !(name === "open" && old.tagName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [before, after] = [actions.get(old) ?? {}, actions.get(made) ?? {}];
  for (const name of Object.keys({ ...before, ...after })) listen(old, name, after[name]);
  reconcile(old, [...made.childNodes]);
}

/** Tell a screen reader, once. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A name in whatever script: written in its own direction, without turning what stands around it. */
export const name = (text) => h("bdi", {}, text);
