// Light or dark, and which language: as Airflow's own page has it now, and whenever that changes.

import en from "./words/en.js";
import zh from "./words/zh-CN.js";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function above() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null; // another origin
  }
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function isDark() {
  const page = above();
  if (page?.classList.contains("dark")) return true;
  if (page?.classList.contains("light")) return false;
  const theme = stored("theme");
  return theme === "dark" || (theme !== "light" && dark.matches);
}

function language() {
  const asked = new URLSearchParams(location.search).get("lang") ?? stored("i18nextLng") ?? navigator.language;
  return asked.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

/** The time zone that was chosen in Airflow, if it was and the browser knows it; undefined: the browser's own. */
function chosenZone() {
  try {
    const asked = JSON.parse(stored("timezone") ?? "null");
    if (typeof asked !== "string") return undefined;
    return new Intl.DateTimeFormat("en", { timeZone: asked }).resolvedOptions().timeZone && asked;
  } catch {
    return undefined;
  }
}

let words = en;
export let locale = "en";
/** The zone of all times, by its name. */
export let zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Return a sentence in the language of the page: t("key", {name: value}). A key without a sentence is shown itself. */
export function t(key, values = {}) {
  const sentence = words[key] ?? en[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Return the word for a value that comes from elsewhere: t("prefix_value"); without one, the value as it is. */
export function told(prefix, value, otherwise = value) {
  const key = `${prefix}_${value}`;
  return key in en ? t(key) : String(otherwise ?? value);
}

/** The colour that Airflow's page has where the frame lies. */
function groundBelow() {
  if (!above()) return null;
  for (let element = window.frameElement; element; element = element.parentElement) {
    const colour = window.parent.getComputedStyle(element).backgroundColor;
    if (colour !== "transparent" && !/, 0\)$|\/ 0\)$/.test(colour)) return colour;
  }
  return null;
}

function apply() {
  locale = language();
  words = locale === "zh-CN" ? zh : en;
  zone = chosenZone() ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  document.documentElement.lang = locale;
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  document.title = t("title");
  const ground = groundBelow();
  if (ground) document.documentElement.style.setProperty("--bg", ground);
}

/** Follow Airflow's page; `changed` is called when the language, or the time zone, is another one. */
export function follow(changed) {
  const again = () => {
    const before = locale + zone;
    apply();
    if (before !== locale + zone) changed();
  };
  apply();
  dark.addEventListener("change", again);
  window.addEventListener("storage", again);
  const page = above();
  if (page) new MutationObserver(again).observe(page, { attributes: true, attributeFilter: ["class", "lang"] });
}
