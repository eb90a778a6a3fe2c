// Two runs beside each other.

import { rewrite } from "../address.js";
import { ask } from "../api.js";
import { h, name, show } from "../dom.js";
import { bytes, count, number, time } from "../format.js";
import { t } from "../look.js";
import { judgement } from "./judgement.js";
import { card, either, failure, lack, loading, table } from "./parts.js";

/** The form that chooses two runs. */
export function choose(left, right) {
  const known = h("datalist", { id: "runs" });
  const field = (name, value, label) =>
    h("label", {}, label, h("input", { name, value: value ?? "", list: "runs", required: true, autocomplete: "off", maxlength: 64, "data-key": name, oninput: (event) => suggest(known, event.target.value) }));
  suggest(known, "");
  return h(
    "form",
    {
      class: "choose",
      onsubmit: (event) => {
        event.preventDefault();
        const given = new FormData(event.target);
        location.hash = `#/compare?left=${encodeURIComponent(given.get("left"))}&right=${encodeURIComponent(given.get("right"))}`;
      },
    },
    h("h1", {}, t("compare")),
    h("div", { class: "tools" }, field("left", left, t("run_left")), field("right", right, t("run_right")), h("button", { class: "primary" }, t("compare_do"))),
    known,
  );
}

/** Offer the runs whose name holds `find`. */
export async function suggest(list, find) {
  try {
    const { body } = await ask("runs", { find });
    if (body.state === "ok") list.replaceChildren(...body.data.runs.map((run) => h("option", { value: run.run_id }, t(`outcome_${run.state}`) === `outcome_${run.state}` ? run.state : t(`outcome_${run.state}`))));
  } catch {
    // without suggestions a name can still be written
  }
}

export function comparison(found, left, right, user) {
  if (!found) return h("p", { class: "quiet" }, t("compare_choose"));
  return [
    card(t("metrics"), either(found.measured, measured), found.judgement.state === "ok" ? judgement(found.judgement.data) : h("p", { class: "quiet" }, found.judgement.why)),
    card(t("how_made"), made(found, left, right)),
    card(t("parameters"), parameters(found, left, right)),
    card(t("movers"), either(found.movers, (data) => movers(data, left, right))),
    card(t("lists"), lists(left, right, user, found.users)),
  ];
}

function measured(data) {
  const note = data.together ? t("together", { n: count(data.users), from: time(data.window_start), to: time(data.window_end) }) : t("apart");
  const written = (value) => (value === undefined ? "–" : number(value));
  const rows = data.metrics.map((one) => {
    const change = one.left === undefined || one.right === undefined ? undefined : one.right - one.left;
    return h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, written(one.left)), h("td", {}, written(one.right)), h("td", {}, change === undefined ? "–" : `${change > 0 ? "+" : ""}${number(change)}`));
  });
  if (!rows.length) return h("p", { class: "quiet" }, t("no_metrics"));
  return [h("p", { class: "quiet" }, note), table(["", t("run_left"), t("run_right"), t("difference")], rows, t("metrics"))];
}

function made(found, left, right) {
  const rows = {
    algorithm: (run) => run.algorithm,
    as_of: (run) => time(run.as_of),
    created: (run) => time(run.created_at),
    data_window: (run) => `${time(run.first_data)} – ${time(run.last_data)}`,
    data_rows: (run) => count(run.rows),
    data_users: (run) => count(run.users),
    data_items: (run) => count(run.items),
    data_hash: (run) => run.data_sha256.slice(0, 12),
    seed: (run) => String(run.seed),
    commit: (run) => run.git_commit?.slice(0, 12) ?? "–",
    serving: (run) => run.serving,
    size: (run) => bytes(run.bytes),
  };
  const sides = [found.left, found.right];
  return [
    sides.filter((side) => side.state !== "ok").map(lack),
    table(
      ["", left, right],
      Object.entries(rows).map(([name, of]) => {
        const [one, other] = sides.map((side) => (side.state === "ok" ? of(side.data) : "–"));
        return h("tr", { class: one === other ? "" : "differs" }, h("th", { scope: "row" }, t(name)), h("td", {}, one), h("td", {}, other));
      }),
      t("how_made"),
    ),
  ];
}

function parameters(found, left, right) {
  const differ = found.parameters.filter((one) => !one.same);
  const same = found.parameters.length - differ.length;
  return [
    differ.length > 0 && table(["", left, right], differ.map((one) => h("tr", { class: "differs" }, h("th", { scope: "row" }, one.name), h("td", {}, h("code", {}, one.left ?? "–")), h("td", {}, h("code", {}, one.right ?? "–")))), t("parameters")),
    h("p", { class: "quiet" }, t("same_parameters", { n: same })),
  ];
}

/** Items whose place among the most popular changed most. */
export function movers(data, left, right) {
  const place = (value) => (value === undefined ? `> ${data.depth}` : String(value));
  const rows = data.movers.map((one) => {
    const by = (one.left ?? data.depth + 1) - (one.right ?? data.depth + 1);
    return h("tr", {}, h("th", { scope: "row" }, item(one)), h("td", {}, place(one.left)), h("td", {}, place(one.right)), h("td", { class: by > 0 ? "up" : "down" }, by > 0 ? `▲\u00a0${by}` : `▼\u00a0${-by}`));
  });
  return [h("p", { class: "quiet" }, t("movers_of", { depth: data.depth, n: data.unchanged })), rows.length > 0 && table([t("item"), left, right, ""], rows, t("movers"))];
}

/** An item by its name, in whatever script, and by its id where that is another. */
const item = (one) => [name(one.name ?? one.item_id), one.name && one.name !== one.item_id && [" ", h("span", { class: "quiet id" }, name(one.item_id))]];

/** The form that asks for a user, and both lists of theirs; `user`: whose lists are open, `known`: some to begin with. */
function lists(left, right, user, known) {
  const place = h("div", { "aria-live": "polite" });
  const field = h("input", { name: "user", value: user ?? "", required: true, maxlength: 256, autocomplete: "off", dir: "auto", list: "users", "data-key": "user" });
  const load = async (wanted) => {
    rewrite("compare", { left, right, user: wanted });
    show(place, loading());
    try {
      const { body } = await ask("lists", { left, right, user_id: wanted });
      show(place, beside(body.left, body.right));
    } catch (error) {
      show(place, failure(error, () => load(wanted)));
    }
  };
  const submit = (event) => {
    event.preventDefault();
    load(field.value);
  };
  const offer = (one) =>
    h("button", { type: "button", class: "small", "data-key": `user_${one}`, onclick: () => { field.value = one; load(one); } }, name(one));
  if (user) load(user);
  return [
    h("form", { class: "tools", onsubmit: submit }, h("label", {}, t("user_id"), field), h("button", {}, t("lists_do"))),
    known.length > 0 && h("p", { class: "tools" }, h("span", { class: "quiet" }, t("some_users")), known.map(offer)),
    place,
  ];
}

/** Two lists side by side, rank by rank: what stands in one alone, and how far the others moved. */
function beside(left, right) {
  const places = [left, right].map((side) => new Map((side.data?.items ?? []).map((one, rank) => [one.item_id, rank])));
  const length = Math.max(...places.map((found) => found.size));
  const lacking = [left, right].filter((side) => side.state !== "ok").map(lack);
  const cell = (side, rank) => {
    const one = [left, right][side].data?.items[rank];
    if (!one) return h("td", {});
    const other = places[1 - side].get(one.item_id);
    const by = other === undefined ? undefined : other - rank;
    const change = side === 1 && by ? h("span", { class: by > 0 ? "up" : "down" }, by > 0 ? `▲\u00a0${by}` : `▼\u00a0${-by}`) : null;
    return h("td", { class: other === undefined ? "alone" : "" }, item(one), change && [" ", change], other === undefined && [" ", h("span", { class: "tag" }, t("only_here"))]);
  };
  const heading = (side) => (side.state === "ok" ? [side.data.run_id, !side.data.known && h("span", { class: "quiet" }, ` ${t("unknown_user")}`)] : "–");
  if (!length) return lacking;
  return [
    lacking,
    h(
      "table",
      { class: "lists" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("rank")), h("th", { scope: "col" }, heading(left)), h("th", { scope: "col" }, heading(right)))),
      h("tbody", {}, Array.from({ length }, (_, rank) => h("tr", {}, h("th", { scope: "row" }, rank + 1), cell(0, rank), cell(1, rank)))),
    ),
  ];
}
