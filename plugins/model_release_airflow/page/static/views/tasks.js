// The tasks of a release's DAG run, as Airflow has them, each with the way to its log.

import { AIRFLOW, leave, taskPath } from "../api.js";
import { h } from "../dom.js";
import { span } from "../format.js";
import { t, told } from "../look.js";
import { sign } from "../plots/shapes.js";
import { card, failure, loading } from "./parts.js";

const VERDICTS = { success: "pass", failed: "fail", upstream_failed: "error", skipped: "error" };

/** `found`: Airflow's answer; `error`: what it said instead. */
export function tasks(found, error, release) {
  if (error) return card(t("tasks"), error.status === 404 ? h("p", { class: "quiet" }, t("dag_run_gone")) : failure(error));
  if (!found) return card(t("tasks"), loading());
  const shown = found.task_instances.filter((one) => one.state !== "removed");
  return card(t("tasks"), h("ul", { class: "tasks" }, shown.map((one) => task(one, release))));
}

function task(one, release) {
  const path = taskPath(release.dag_id, release.dag_run_id, one.task_id, one.map_index);
  const state = told("task", one.state ?? "none", one.state);
  const name = one.map_index >= 0 ? `${one.task_id} [${one.map_index}]` : one.task_id;
  const done = one.state === "success" || one.state === "failed";
  return h(
    "li",
    { "data-key": `task_${name}` },
    h(
      "a",
      { href: new URL(path, AIRFLOW).href, onclick: (event) => leave(event, path), "data-key": `log_${name}` },
      sign(VERDICTS[one.state] ?? "inconclusive", done),
      h("span", { class: "run" }, name),
    ),
    h("span", { class: "quiet" }, [state, one.duration && span(one.duration), one.try_number > 1 && t("try", { n: one.try_number })].filter(Boolean).join(" · ")),
  );
}
