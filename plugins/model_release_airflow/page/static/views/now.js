// What users get at this moment, who serves it, and whether anything is wrong.

import { h, s } from "../dom.js";
import { ago, number, percent, seconds, shortTime, span, time, trial } from "../format.js";
import { t } from "../look.js";
import { spark } from "../plots/spark.js";
import { card, either, lack, loading } from "./parts.js";

/** The sentence at the top: what users get, on how many replicas, what is on trial, and the latch. */
export function summary(desired, fleet, { act, me }) {
  if (!desired) return loading();
  if (desired.state !== "ok") return lack(desired);
  const now = desired.data;
  if (!now.current && !now.runs) {
    return h("div", { class: "hero empty" }, h("h2", {}, t("nothing_released")), h("p", {}, t("nothing_released_how", { dag: me?.pipeline ?? "" })));
  }
  return h(
    "div",
    { class: "hero" },
    h(
      "div",
      { class: "serves" },
      h("p", { class: "quiet" }, t("serves")),
      h("p", { class: "run" }, now.current?.run_id ?? t("no_run")),
      now.current && h("p", { class: "quiet" }, h("span", { title: time(now.current.since) }, t("since", { at: ago(now.current.since) })), ` · ${t("generation")} ${now.generation}`),
      agreement(fleet),
    ),
    now.candidate && candidate(now.candidate),
    now.latch && h("div", { class: "latch" }, h("strong", {}, t("latch_set")), h("p", { class: "why" }, now.latch.reason), h("p", { class: "quiet" }, t("latch_by", { by: now.latch.by, at: ago(now.latch.since) }))),
    act(now),
  );
}

function agreement(fleet) {
  if (!fleet) return h("p", { class: "agree" }, t("loading"));
  if (fleet.state !== "ok") return h("p", { class: "agree bad" }, t("agree_unknown"));
  const all = fleet.data.replicas.length;
  const good = fleet.data.agreeing === all;
  return h("p", { class: `agree ${good ? "good" : "bad"}` }, good ? t("agree_all", { n: all }) : t("agree_some", { n: fleet.data.agreeing, all }));
}

function candidate(found) {
  const until = found.lease_until && seconds(found.lease_until);
  const left = h("p", { class: "quiet lease", "data-until": until ?? "" });
  tick(left);
  return h("div", { class: "candidate" }, h("p", { class: "quiet" }, `${t("on_trial")} · ${trial(found.mode, found.rollout)}`), h("p", { class: "run" }, found.run_id), left);
}

/** Write what is left of a lease; called again each second, so that nothing is drawn anew. */
export function tick(element) {
  const until = Number(element.dataset.until);
  const left = until - Date.now() / 1000;
  element.textContent = !until ? t("lease_none") : left > 0 ? t("lease_left", { span: span(left) }) : t("lease_over");
}

/** Each replica with its workers: a square for each, filled if it serves what is desired. */
export function replicas(fleet) {
  if (!fleet) return card(t("replicas"), loading());
  return card(t("replicas"), either(fleet, (data) => h("ul", { class: `replicas${data.replicas.length > 8 ? " many" : ""}`, ...(data.replicas.length > 8 ? { tabindex: 0, "data-key": "replicas", "aria-label": t("replicas") } : {}) }, data.replicas.map(replica))));
}

function replica(found) {
  const name = found.address.replace(/^https?:\/\//, "");
  const workers = found.workers.map((worker) => {
    const says = worker.wrong ?? t("worker_title", { pid: worker.pid, generation: worker.generation ?? "?", run: worker.current ?? t("no_run") });
    return h("span", { class: `worker ${worker.wrong ? "bad" : "good"}`, title: says, role: "img", "aria-label": says });
  });
  const missing = Math.max(0, found.expected - found.workers.length);
  const wrong = [found.why, ...new Set(found.workers.map((worker) => worker.wrong).filter(Boolean))].filter(Boolean);
  return h(
    "li",
    { class: found.state, "data-key": name },
    h("span", { class: "name" }, name),
    h("span", { class: "workers" }, workers, Array.from({ length: missing }, () => h("span", { class: "worker gone", role: "img", "aria-label": t("workers_of", { n: found.workers.length, all: found.expected }) }))),
    h("span", { class: "state" }, t(`replica_${found.state}`)),
    wrong.length > 0 && h("p", { class: "why" }, wrong.join("; ")),
  );
}

/** Three small lines over the last hour. */
export function traffic(part) {
  if (!part) return card(t("traffic"), loading());
  const value = {
    per_second: (last) => number(last),
    p95_seconds: (last) => t("milliseconds", { n: number(last * 1000) }),
    degraded: (last) => percent(last),
  };
  return card(
    t("traffic"),
    either(part, (data) =>
      h(
        "dl",
        { class: "traffic" },
        Object.entries(value).map(([name, written]) => {
          const line = data.lines[name];
          const last = line.last === undefined ? t("no_traffic") : written(line.last);
          return h("div", { class: name }, h("dt", {}, t(name)), h("dd", { class: "figure" }, last), h("dd", {}, spark(line, `${t(name)}: ${last}`)));
        }),
      ),
    ),
  );
}

/** What fires, the worst first. */
export function alerts(part, look) {
  if (!part) return card(t("alerts"), loading());
  return card(
    t("alerts"),
    either(part, (data) => {
      if (!data.total) return h("p", { class: "quiet calm" }, tickSign(), t("no_alerts"));
      const rows = data.alerts.slice(0, 6).map((one) =>
        h(
          "li",
          { class: `${one.state} ${one.severity}`, "data-key": one.fingerprint },
          h("strong", {}, one.name),
          h("span", { class: "tag" }, t(`alert_${one.state}`), one.severity && ` · ${one.severity}`),
          h("p", { class: "why" }, one.summary),
          h("p", { class: "quiet" }, h("span", { title: time(one.since) }, t("since", { at: ago(one.since) })), one.silenced_by && ` · ${t("silenced_until", { by: one.silenced_by, at: shortTime(one.until), why: one.comment })}`),
          look && one.state === "firing" && h("button", { onclick: () => look(one), "data-key": `acknowledge${one.fingerprint}` }, t("act_acknowledge")),
        ),
      );
      return h("ul", { class: "alerts" }, rows, data.total > rows.length && h("li", { class: "quiet" }, t("and_more", { n: data.total - rows.length })));
    }),
  );
}

const tickSign = () => s("svg", { class: "inline", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, s("path", { d: "M-5 0L-1.5 3.5L5 -4", class: "stroke good" }));
