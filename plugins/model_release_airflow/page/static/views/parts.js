// What every part of the page looks like while it loads, when it is empty, when it is lacking, and when it failed.

import { Refused } from "../api.js";
import { h } from "../dom.js";
import { t } from "../look.js";

export const loading = () => h("p", { class: "quiet loading", "aria-busy": "true" }, t("loading"));

/** A part of an answer that is not there: which, and why, in the words of who could not give it. */
export const lack = (part) =>
  h("div", { class: `lack ${part.state}` }, h("strong", {}, t(`state_${part.state}`)), h("p", { class: "why" }, part.why));

/** What went wrong with a whole question. */
export function failure(error, again) {
  const status = error instanceof Refused ? error.status : 0;
  const text = status === 401 ? t("login") : status === 403 ? t("forbidden") : t("error");
  return h(
    "div",
    { class: "lack broken", role: "alert" },
    h("strong", {}, text),
    status !== 401 && status !== 403 && h("p", { class: "why" }, error.message),
    again && h("button", { onclick: again, "data-key": "again" }, t("retry")),
  );
}

/** Show a part: its data through `draw`, or what is the matter with it. */
export const either = (part, draw) => (part.state === "ok" ? draw(part.data) : lack(part));

export const card = (title, ...content) => h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...content);

/** A table that scrolls by itself where the screen is narrow. */
export const table = (head, rows, caption, className) =>
  h(
    "div",
    { class: `scroll ${className ?? ""}`.trim(), tabindex: 0, "data-key": `table ${caption}`, role: "region", "aria-label": caption },
    h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)),
  );
