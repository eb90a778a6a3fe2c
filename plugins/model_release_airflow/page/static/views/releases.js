// The timeline and the list of releases below it.

import { h } from "../dom.js";
import { ago, seconds, time, trial } from "../format.js";
import { t } from "../look.js";
import { lanes, legend } from "../plots/lanes.js";
import { isGoing, outcomeIcon, verdictOf } from "../words/outcomes.js";
import { card, either, loading } from "./parts.js";

const DAY = 86400;
const SPANS = [["zoom_day", DAY], ["zoom_week", 7 * DAY], ["zoom_month", 30 * DAY]];
const OUTCOMES = ["released", "rolled_back", "put_back", "trial_ended", "rejected", "failed", "declined", "on_trial"];

/** Draw a stretch of time; `stretch` is {start, end} in seconds or {span}, `go(stretch)` shows another one. */
export function picture(part, width, stretch, { open, go }) {
  if (!part) return card(t("timeline"), loading());
  return card(
    t("timeline"),
    either(part, (data) => {
      const [from, to] = [seconds(data.start), seconds(data.end)];
      const length = to - from;
      const first = data.first ? seconds(data.first) : from;
      const whole = Math.max(3600, Date.now() / 1000 - first);
      const buttons = [...SPANS, ["zoom_all", whole * 1.03]].map(([name, span]) =>
        h("button", { onclick: () => go({ span }), "data-key": name, "aria-pressed": String(stretch.span !== undefined && Math.abs(stretch.span - span) < span * 0.02) }, t(name)),
      );
      const shift = (by) => () => go({ start: from + by * length, end: to + by * length });
      return [
        h(
          "div",
          { class: "tools", role: "group", "aria-label": t("zoom") },
          h("button", { onclick: shift(-0.5), "data-key": "earlier", "aria-label": t("earlier"), disabled: from <= first }, "‹"),
          buttons,
          h("button", { onclick: shift(0.5), "data-key": "later", "aria-label": t("later"), disabled: to >= Date.now() / 1000 - 1 }, "›"),
          h("span", { class: "quiet range" }, `${time(data.start)} – ${time(data.end)}`),
        ),
        lanes(data, width, { open, zoom: (start, end) => go({ start, end: Math.max(end, start + 60) }) }),
        h("div", { class: "under" }, legend(), h("p", { class: "quiet hint" }, data.cut ? t("cut") : t("drag_hint"))),
      ];
    }),
  );
}

/** The releases of the stretch; `more` shows the next page. */
export function list(part, rows, { open, more, outcome, choose }) {
  if (!part) return card(t("releases"), loading());
  return card(
    t("releases"),
    either(part, (data) => [
      h(
        "div",
        { class: "tools" },
        h("label", {}, `${t("filter")} `, h("select", { onchange: (event) => choose(event.target.value || undefined), "data-key": "filter" }, h("option", { value: "" }, t("filter_all")), OUTCOMES.map((one) => h("option", { value: one, selected: one === outcome }, t(`outcome_${one}`))))),
        h("span", { class: "quiet" }, t("releases_count", { n: data.total })),
      ),
      rows.length === 0 ? h("p", { class: "quiet" }, t("no_releases")) : h("ol", { class: "releases" }, rows.map((one) => row(one, open))),
      more && h("button", { onclick: more, "data-key": "more", class: "wide" }, t("more")),
    ]),
  );
}

function row(one, open) {
  return h(
    "li",
    { class: `release ${verdictOf(one.outcome)}${isGoing(one.outcome) ? " going" : ""}`, "data-key": `row ${one.release_id}` },
    h(
      "a",
      { href: `#/release/${encodeURIComponent(one.release_id)}`, "data-key": one.release_id, onclick: () => open(one.release_id) },
      h("span", { class: "how" }, outcomeIcon(one.outcome), h("strong", {}, t(`outcome_${one.outcome}`)), one.undone_at && h("span", { class: "tag undone" }, t("undone")), one.kind === "by_hand" && h("span", { class: "tag" }, t("kind_by_hand"))),
      h("span", { class: "run" }, one.run_id ?? ""),
      h("span", { class: "why" }, one.why),
      h("span", { class: "quiet when", title: time(one.began) }, ago(one.began)),
      trail(one),
    ),
  );
}

/** How far it came: one sign for each thing that moved it. */
function trail(one) {
  const shown = one.marks.filter((mark) => ["gate_decided", "trial_started", "released", "verified", "approved", "declined", "rejected", "failed", "put_back", "trial_ended", "rolled_back"].includes(mark.event)).slice(-10);
  if (!shown.length) return null;
  const label = shown.map((mark) => name(mark)).join(", ");
  return h("span", { class: "trail", role: "img", "aria-label": label, title: label }, shown.map((mark) => h("span", { class: `step ${tone(mark)}` }, short(mark))));
}

const name = (mark) => (mark.verdict ? `${t(`event_${mark.event}`)} ${t(`verdict_${mark.verdict}`)}` : mark.event === "trial_started" ? trial(mark.mode, mark.rollout) : t(`event_${mark.event}`));

const short = (mark) => (mark.event === "trial_started" ? trial(mark.mode, mark.rollout) : mark.event === "gate_decided" ? t("event_gate_decided") : t(`event_${mark.event}`));

/** The colour of a mark, which its word says too. */
export function tone(mark) {
  if (mark.verdict) return mark.verdict;
  if (["rejected", "failed", "declined"].includes(mark.event)) return "fail";
  if (["put_back", "trial_ended", "rolled_back", "latch_set", "deviated", "alert_acted"].includes(mark.event)) return "error";
  if (["released", "verified", "approved", "healed", "recovered", "latch_cleared"].includes(mark.event)) return "pass";
  return "neutral";
}
