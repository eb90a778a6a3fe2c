// What stands behind a release: slices, ranking, the data, the promises, and the policy that judged it.

import { h } from "../dom.js";
import { count, decimal, number, signed } from "../format.js";
import { t, told } from "../look.js";
import { shares } from "../plots/days.js";
import { interval } from "../plots/intervals.js";
import { sign } from "../plots/shapes.js";
import { movers } from "./compare.js";
import { history, multiples } from "./health.js";
import { card, either, lack, table } from "./parts.js";

let chosen; // the metric whose slices are shown, as long as the page is open

/** Everything behind `release`; `again` draws anew, when another metric was chosen. */
export function behind(part, release, again) {
  if (!part) return [];
  if (part.state !== "ok") return [lack(part)];
  const data = part.data;
  return [
    data.slices.state !== "missing" && card(t("slices"), either(data.slices, (found) => slices(found, data.slices_note, again))),
    release.run_id && release.previous_run_id && release.run_id !== release.previous_run_id && card(t("ranking"), ranking(data.ranking, release)),
    h(
      "div",
      { class: "row two" },
      data.days.state !== "missing" && h("div", {}, card(t("promises"), either(data.days, multiples))),
      data.quality.state !== "missing" && h("div", {}, card(t("quality_history"), either(data.quality, (found) => history(found)))),
    ),
    ...["online", "offline"].filter((stage) => data.policy[stage].state === "ok" || data.policy[stage].why !== "no decision is kept").map((stage) => card(`${t("policy_used")}: ${t(`judged_${stage}`)}`, either(data.policy[stage], policy))),
  ];
}

function slices(data, note, again) {
  const metric = data.metrics.includes(chosen) ? chosen : data.metrics[0];
  const choose = (name) => {
    chosen = name;
    again();
  };
  const rows = data.rows.filter((one) => one.metric === metric);
  return [
    h("div", { class: "tools", role: "group", "aria-label": t("metric") }, data.metrics.map((name) => h("button", { "data-key": `metric_${name}`, "aria-pressed": String(name === metric), onclick: () => choose(name) }, name))),
    note && h("p", { class: "quiet why" }, note),
    table([t("slice"), t("data_users"), t("current"), t("candidate"), t("difference"), "", t("verdict")], rows.map(slice), `${t("slices")}: ${metric}`, "slices"),
  ];
}

function slice(one) {
  const written = (value) => (value === undefined ? "–" : decimal(value));
  const found = one.difference === undefined ? "–" : one.low === undefined ? signed(one.difference) : `${signed(one.difference)} [${signed(one.low)}, ${signed(one.high)}]`;
  const said = one.verdict ? t(`verdict_${one.verdict}`) : t("not_checked");
  return h(
    "tr",
    { class: one.verdict ?? "unjudged" },
    h("th", { scope: "row" }, told("slice", one.label.replaceAll(" ", "_"), one.label)),
    h("td", { class: "figure" }, one.users === undefined ? "–" : count(one.users), one.too_small && h("span", { class: "tag few" }, t("too_small", { n: count(one.minimum_users) }))),
    h("td", { class: "figure" }, written(one.current)),
    h("td", { class: "figure" }, written(one.candidate)),
    h("td", { class: "figure nowrap" }, found),
    h("td", { class: "drawn" }, one.place && interval(one, `${one.label}: ${found}, ${said}`)),
    h("td", { class: "nowrap", title: one.reason }, one.verdict ? [sign(one.verdict, one.blocks), said, !one.blocks && h("span", { class: "tag" }, t("not_blocking"))] : h("span", { class: "quiet" }, said)),
  );
}

function ranking(data, release) {
  return [
    either(data.lists, lists),
    data.shadow.length > 0 && [h("h3", {}, t("shadow_found")), h("dl", { class: "figures" }, data.shadow.map(live))],
    h("h3", {}, t("movers")),
    either(data.movers, (found) => movers({ ...found, movers: found.movers.slice(0, 5) }, release.previous_run_id, release.run_id)),
  ];
}

/** A result on live traffic in one figure; its picture stands where it was judged. */
const live = (check) => h("div", {}, h("dt", {}, sign(check.verdict, check.blocks), check.check), h("dd", { class: "figure" }, check.found), h("dd", { class: "quiet" }, `${t("wanted")} ${check.wanted}`, check.samples !== "–" && ` · ${check.samples} ${t("counted_answers")}`));

function lists(data) {
  const figures = [
    ["overlap", number(data.overlap), t("overlap_of", { depth: data.depth })],
    ["rbo", number(data.rbo), t("rbo_of")],
    ["tau", data.popular_tau === undefined ? "–" : number(data.popular_tau), t("tau_of", { shared: data.popular_shared, n: data.popular })],
  ];
  return [
    h("dl", { class: "figures" }, figures.map(([name, value, about]) => h("div", {}, h("dt", {}, t(name)), h("dd", { class: "figure" }, value), h("dd", { class: "quiet" }, about)))),
    h("h3", {}, t("rbo_users", { n: data.users.length })),
    shares(data.users.map((one) => ({ value: one.rbo, name: one.user_id })), `${t("rbo_users", { n: data.users.length })}: ${number(data.users[0].rbo)} – ${number(data.users.at(-1).rbo)}`),
  ];
}

function policy(data) {
  const named = (name, hash) => t("policy", { name, hash: hash.slice(0, 8) });
  const changed = (one) => one.used && !one.always && one.now === undefined;
  return [
    h("p", { class: data.same ? "" : "bad" }, sign(data.same ? "pass" : "inconclusive"), data.same ? t("policy_same", { policy: named(data.name, data.sha256) }) : t("policy_other", { policy: named(data.name, data.sha256), now: named(data.now_name, data.now_sha256) })),
    h(
      "details",
      {},
      h("summary", { "data-key": "policy" }, t("policy_checks", { n: data.checks.length })),
      table(
        [t("check"), t("wanted"), t("least"), t("confidence"), "", t("policy_now")],
        data.checks.map((one) =>
          h(
            "tr",
            { class: one.used ? "" : "unjudged" },
            h("th", { scope: "row" }, one.check, h("span", { class: "quiet" }, ` ${one.kind === one.check ? "" : one.kind}`)),
            h("td", { class: "nowrap" }, one.wanted.length ? one.wanted.map((wanted) => h("div", {}, wanted)) : "–"),
            h("td", { class: "figure" }, one.least === undefined ? "–" : count(one.least)),
            h("td", { class: "figure" }, one.confidence === undefined ? "–" : `${number(one.confidence * 100)} %`),
            h("td", { class: "nowrap quiet" }, !one.used ? t("policy_unused") : one.blocks ? "" : t("not_blocking")),
            h("td", { class: changed(one) ? "bad" : "" }, one.always ? t("policy_always") : changed(one) ? t("policy_gone") : h("code", {}, one.now)),
          ),
        ),
        t("policy_used"),
        "policy",
      ),
    ),
  ];
}

