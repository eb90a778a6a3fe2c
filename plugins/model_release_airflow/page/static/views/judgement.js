// A decision of the gate: every result's value and interval against what was wanted.

import { h } from "../dom.js";
import { time } from "../format.js";
import { t } from "../look.js";
import { interval } from "../plots/intervals.js";
import { sign } from "../plots/shapes.js";

export function judgement(found) {
  const groups = [
    ["group_differences", found.checks.filter((check) => check.place && check.difference)],
    ["group_limits", found.checks.filter((check) => check.place && !check.difference)],
    ["group_words", found.checks.filter((check) => !check.place)],
  ].filter(([, checks]) => checks.length);
  return [
    h(
      "p",
      { class: `verdict ${found.verdict}` },
      sign(found.verdict),
      h("strong", {}, t(`verdict_${found.verdict}`)),
      ` ${found.run_id} ${found.no_baseline ? `(${t("no_baseline")})` : found.against ? t("against", { run: found.against }) : ""}`,
    ),
    h("p", { class: "quiet" }, `${t("decided", { at: time(found.decided_at) })} · `, h("span", { title: found.policy_sha256 }, t("policy", { name: found.policy_name, hash: found.policy_sha256.slice(0, 8) }))),
    groups.map(([name, checks]) => group(name, checks, found.counted)),
  ];
}

function group(name, checks, counted) {
  const plotted = name !== "group_words";
  return h(
    "div",
    { class: "checks" },
    h("h3", {}, t(name)),
    plotted && h("p", { class: "scale quiet", "aria-hidden": "true" }, h("span", {}, t("worse")), h("span", {}, t("limit")), h("span", {}, t("better"))),
    h("ul", {}, checks.map((check) => row(check, counted))),
  );
}

function row(check, counted) {
  const name = check.subject ? `${check.check} ${check.subject}` : check.check;
  const figures = `${check.found}, ${t("wanted")} ${check.wanted}`;
  const label = `${name}: ${t(`verdict_${check.verdict}`)}. ${figures}`;
  return h(
    "li",
    { class: check.verdict },
    h("span", { class: "name" }, sign(check.verdict, check.blocks), name, !check.blocks && h("span", { class: "tag" }, check.remark || t("not_blocking"))),
    check.place && interval(check, label),
    check.place && h("span", { class: "figures" }, figures),
    h("span", { class: "why quiet" }, [check.verdict === "pass" && check.place ? "" : check.reason, check.samples !== "–" && `${t("samples")} ${check.samples} ${t(`counted_${counted}`)}`, check.certainty].filter(Boolean).join(" · ")),
  );
}
