// One release: its steps, what the gate decided, and everything the ledger tells of it.

import { AIRFLOW, dagRunPath, leave, taskPath } from "../api.js";
import { h } from "../dom.js";
import { ago, time, trial } from "../format.js";
import { t } from "../look.js";
import { outcomeIcon, verdictOf } from "../words/outcomes.js";
import { judgement } from "./judgement.js";
import { card, either, loading, table } from "./parts.js";
import { tone } from "./releases.js";

export function release(part, shownAlone) {
  if (!part) return loading();
  const back = h("a", { class: "back", href: "#/now", "data-key": "back" }, `‹ ${t("back")}`);
  if (part.state === "missing" && shownAlone) return [back, h("p", { class: "quiet" }, t("no_release"))];
  return [back, either(part, (data) => whole(data))];
}

function whole({ release: one, steps, judgements, graph }) {
  return [
    h(
      "header",
      { class: `head ${verdictOf(one.outcome)}` },
      h("h1", {}, outcomeIcon(one.outcome), `${t(`outcome_${one.outcome}`)}: ${one.run_id ?? t("no_run")}`),
      one.undone_at && h("p", { class: "bad" }, `${t("undone")}: ${time(one.undone_at)}`),
      one.why && h("p", { class: "why" }, one.why),
      h("p", { class: "quiet" }, `${t(`kind_${one.kind}`)} · `, h("span", { title: time(one.began) }, ago(one.began)), ` · ${t("by")} ${one.by}`),
      h(
        "p",
        { class: "links" },
        one.dag_id && h("a", { href: new URL(dagRunPath(one.dag_id, one.dag_run_id), AIRFLOW).href, onclick: (event) => leave(event, dagRunPath(one.dag_id, one.dag_run_id)), "data-key": "dagrun" }, t("open_dag_run")),
        graph.state === "ok" && h("a", { href: graph.data, target: "_blank", rel: "noopener noreferrer", onclick: (event) => leave(event, graph.data, true), "data-key": "graph" }, t("open_graph")),
        one.run_id && one.previous_run_id && one.run_id !== one.previous_run_id &&
          h("a", { href: `#/compare?left=${encodeURIComponent(one.previous_run_id)}&right=${encodeURIComponent(one.run_id)}`, "data-key": "compare" }, t("compare_with", { run: one.previous_run_id })),
      ),
      graph.state === "broken" && h("p", { class: "quiet" }, graph.why),
    ),
    card(t("steps"), path(steps)),
    ...["online", "offline"].filter((stage) => judgements[stage].state !== "missing").map((stage) => card(t(`judged_${stage}`), either(judgements[stage], judgement))),
  ];
}

/** Everything that the ledger tells of a release. */
export function ledger(part) {
  if (part?.state !== "ok") return [];
  const { steps, release: one } = part.data;
  return [
    card(
      t("ledger"),
      table(
        ["", "", t("act_run"), t("generation"), "", t("by")],
        steps.map((step) => h("tr", {}, h("td", { class: "nowrap" }, time(step.at)), h("td", { class: "nowrap" }, h("span", { class: `step ${tone(step)}` }, said(step))), h("td", { class: "nowrap run" }, step.run_id ?? ""), h("td", { class: "made", title: t("generation") }, step.generation ?? ""), h("td", { class: "why" }, step.reason), h("td", { class: "quiet nowrap" }, by(step, one)))),
        t("ledger"),
        "ledger",
      ),
    ),
  ];
}

/** Who wrote a step; a task of the release's own DAG run leads to its log. */
function by(step, one) {
  if (!step.task_id || !one.dag_id) return step.by;
  const path = taskPath(one.dag_id, one.dag_run_id, step.task_id);
  return h("a", { href: new URL(path, AIRFLOW).href, onclick: (event) => leave(event, path), title: t("open_log") }, step.by);
}

const said = (step) =>
  step.verdict ? `${t(`event_${step.event}`)}: ${t(`verdict_${step.verdict}`)}` : step.mode && step.mode !== "primary" ? `${t(`event_${step.event}`)} ${trial(step.mode, step.rollout)}` : t(`event_${step.event}`);

const SKIPPED = new Set(["notified", "alert_left"]);

/** The way a release went, stop by stop: what is said twice in a row (desired, then proved) is one stop. */
function path(steps) {
  const stops = [];
  for (const step of steps) {
    if (SKIPPED.has(step.event)) continue;
    const proof = ["released", "trial_started"].includes(step.event) && stops.at(-1)?.step.event === "committed";
    if (proof) stops.pop();
    stops.push({ step, key: step.event });
  }
  return h(
    "ol",
    { class: "path" },
    stops.map(({ step }) => h("li", { class: tone(step), title: `${time(step.at)}\n${step.reason}` }, h("span", { class: "point", "aria-hidden": "true" }), h("strong", {}, step.event === "trial_started" ? trial(step.mode, step.rollout) : t(`event_${step.event}`)), step.verdict && h("span", { class: "tag" }, t(`verdict_${step.verdict}`)), h("span", { class: "quiet" }, time(step.at)))),
  );
}
