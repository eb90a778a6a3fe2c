// How good the data is, and what was promised of a run against what was observed.

import { h, s } from "../dom.js";
import { ago, count, number, percent, shortTime, span } from "../format.js";
import { t, told } from "../look.js";
import { scores, strip } from "../plots/days.js";
import { sign } from "../plots/shapes.js";
import { card, either, loading } from "./parts.js";

const VERDICTS = { kept: "pass", broken: "fail", unclear: "inconclusive", too_few_users: "inconclusive", not_comparable: "error" };

/** A bar for each table, the worst first. */
export function quality(part) {
  if (!part) return card(t("quality"), loading());
  return card(t("quality"), either(part.quality, (data) => [data.measured_at && h("p", { class: "quiet" }, ago(data.measured_at)), h("ul", { class: "bars" }, data.tables.map(bar))]), part.history.state === "ok" && [h("h3", {}, t("quality_history")), history(part.history.data)]);
}

/** A line of scores for each table, against the score that was wanted. */
export function history(data) {
  return h(
    "ul",
    { class: "history" },
    data.tables.map((one) => {
      const last = one.points.at(-1);
      const score = last.score === undefined ? t("not_measured") : number(last.score);
      const wanted = last.wanted === undefined ? "–" : number(last.wanted);
      const label = t("score_label", { table: one.table, score, wanted, n: one.points.length });
      return h("li", {}, h("span", { class: "name" }, sign(last.verdict), one.table), h("span", { class: "quiet" }, h("strong", {}, score), ` · ${t("wanted")} ${wanted}`), scores(one, label, shortTime(one.points[0].at), shortTime(last.at)));
    }),
  );
}

function bar(one) {
  const score = one.score === undefined ? t("not_measured") : number(one.score);
  return h(
    "li",
    {},
    h("span", {}, one.table),
    s("svg", { class: "bar", role: "img", "aria-label": `${one.table}: ${score}` }, s("rect", { width: "100%", height: 8, y: 4, rx: 4, class: "rest" }), one.score !== undefined && s("rect", { width: `${Math.max(0, Math.min(100, one.score))}%`, height: 8, y: 4, rx: 4, class: "full" })),
    h("strong", {}, score),
    h("span", { class: "quiet" }, [one.worst_check && t("worst_check", { name: one.worst_check }), one.age_seconds !== undefined && t("data_age", { span: span(one.age_seconds) })].filter(Boolean).join(" · ")),
  );
}

/** For each metric the observed interval, and the promise as a mark. */
export function promises(part) {
  if (!part) return card(t("promises"), loading());
  return card(
    t("promises"),
    either(part.reconciliation, (data) => [
      h("p", { class: "quiet" }, `${data.date}${data.complete ? "" : ` (${t("so_far")})`}`),
      h("ul", { class: "promises" }, data.promises.map(promise)),
      data.problems.map((problem) => h("p", { class: "why" }, problem)),
      !data.promises.length && !data.problems.length && h("p", { class: "quiet" }, t("no_promises")),
    ]),
    part.days.state === "ok" && part.days.data.first !== part.days.data.last && [h("h3", {}, t("last_days")), multiples(part.days.data)],
  );
}

/** What was promised and what was observed, day by day: a small picture for each metric. */
export function multiples(data) {
  const lacking = data.missing.length > 0 && h("p", { class: "quiet" }, t("days_missing", { n: data.missing.length }));
  return [
    h(
      "ul",
      { class: "multiples" },
      data.strips.filter((one) => one.points.some((point) => point.mean !== undefined)).map((one) => {
        const broken = one.points.filter((point) => point.result === "broken").length;
        const label = t("strip_label", { metric: one.metric, n: one.points.length, broken });
        return h("li", {}, h("span", { class: "name" }, one.metric, one.variant !== "current" && h("span", { class: "tag" }, told("variant", one.variant))), h("span", { class: broken ? "bad" : "quiet" }, t("broken_days", { n: broken, all: one.points.length })), strip(one, data.first, data.last, label, (result) => VERDICTS[result] ?? "error"));
      }),
    ),
    h("p", { class: "quiet hint" }, t("days_hint", { zone: data.zone })),
    lacking,
  ];
}

function promise(one) {
  const highest = Math.max(one.upper ?? 0, one.promised ?? 0, one.mean ?? 0, 1e-9) * 1.1;
  const at = (value) => `${((value / highest) * 100).toFixed(2)}%`;
  const verdict = VERDICTS[one.result] ?? "error";
  const observed = one.mean === undefined ? t("not_measured") : `${percent(one.mean)} [${percent(one.lower ?? one.mean)}, ${percent(one.upper ?? one.mean)}]`;
  const promised = one.promised === undefined ? "–" : percent(one.promised);
  const label = t("promise_label", { metric: one.metric, observed, promised, result: t(`result_${one.result}`) });
  return h(
    "li",
    { class: verdict },
    h("span", { class: "name" }, sign(verdict), `${one.metric} · ${one.run_id ?? t("no_run")}`, one.variant !== "current" && h("span", { class: "tag" }, told("variant", one.variant))),
    one.mean !== undefined &&
      s(
        "svg",
        { class: `plot ${verdict}`, role: "img", "aria-label": label },
        s("line", { x1: 0, x2: "100%", y1: "50%", y2: "50%", class: "ground" }),
        one.lower !== undefined && s("line", { x1: at(one.lower), x2: at(one.upper ?? one.mean), y1: "50%", y2: "50%", class: "interval" }),
        s("circle", { cx: at(one.mean), cy: "50%", r: 5, class: `sign ${verdict}` }),
        one.promised !== undefined && s("line", { x1: at(one.promised), x2: at(one.promised), y1: 2, y2: "92%", class: "limit" }),
      ),
    h("span", { class: "quiet" }, one.mean === undefined ? one.reason : `${observed}, ${t("promised")} ${promised} · ${count(one.users)} ${t("counted_users")}`),
  );
}
