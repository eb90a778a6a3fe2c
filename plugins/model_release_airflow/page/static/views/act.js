// Roll back, release a run, allow releases: what will happen is shown first; then Airflow is asked for a DAG run.

import { acknowledge, ask, dagRun, dagRunPath, AIRFLOW, leave, trigger } from "../api.js";
import { h, say, show } from "../dom.js";
import { span } from "../format.js";
import { t } from "../look.js";
import { suggest } from "./compare.js";
import { loading } from "./parts.js";

const LATCH_DAG = "recommendation_latch";

/** The buttons that this user may press. */
export function buttons(now, me, done) {
  if (!me || !(me.may_roll_back || me.may_release || me.may_latch)) return null;
  const button = (name, open, look = "") => h("button", { class: look, onclick: open, "data-key": name }, t(name));
  return h(
    "div",
    { class: "actions" },
    me.may_roll_back && now.current && button("act_rollback", () => open("rollback", now, done), "danger"),
    me.may_release && button("act_release", () => open("release", now, done)),
    me.may_latch && now.latch && button("act_unlatch", () => open("unlatch", now, done)),
  );
}

function open(action, now, done) {
  const dialog = h("dialog", { "aria-labelledby": "act-title" });
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  form(dialog, action, now, done);
  dialog.showModal();
}

function form(dialog, action, now, done) {
  const known = h("datalist", { id: "act-runs" });
  const run = h("input", { name: "run", list: "act-runs", autocomplete: "off", maxlength: 64, placeholder: action === "rollback" ? t("act_last_good", { run: now.back_to ?? t("none") }) : "" });
  const reason = h("textarea", { name: "reason", rows: 2, maxlength: 500, required: action !== "release" });
  const latch = h("input", { type: "checkbox", checked: true });
  const what = h("div", { class: "what", "aria-live": "polite" });
  const press = h("button", { class: action === "rollback" ? "danger" : "primary" }, t(`act_do_${action}`));
  let seen = null;

  const look = async () => {
    const wished = run.value.trim() || undefined;
    if (action === "unlatch") return show(what, h("p", {}, t("act_unlatch_what")), h("p", { class: "quiet" }, t("act_logged", { dag: LATCH_DAG })));
    if (action === "release" && !wished) return show(what, h("p", { class: "quiet" }, t("act_run"), "?"));
    show(what, loading());
    try {
      seen = await planned(action, wished);
      show(what, told(action, seen, latch.checked));
    } catch (error) {
      seen = null;
      show(what, h("p", { class: "bad" }, error.message));
    }
    press.disabled = !seen?.dag_id || Boolean(seen.plan.refused);
  };
  const submit = async (event) => {
    event.preventDefault();
    if (action !== "release" && !reason.value.trim()) return reason.focus();
    press.disabled = true;
    try {
      if (action !== "unlatch") {
        const again = await planned(action, run.value.trim() || undefined);
        if (JSON.stringify(again.plan) !== JSON.stringify(seen?.plan)) {
          seen = again;
          show(what, h("p", { class: "bad", role: "alert" }, t("act_changed")), told(action, again, latch.checked));
          press.disabled = !again.dag_id || Boolean(again.plan.refused);
          return;
        }
      }
      const [dagId, conf] =
        action === "unlatch"
          ? [LATCH_DAG, { action: "clear", reason: reason.value.trim() }]
          : [seen.dag_id, action === "rollback" ? { run_id: seen.plan.to_run, reason: reason.value.trim(), set_latch: latch.checked } : { run_id: seen.plan.to_run }];
      follow(dialog, await trigger(dagId, conf), done);
    } catch (error) {
      show(what, h("p", { class: "bad", role: "alert" }, t("act_failed", { why: error.message })));
      press.disabled = false;
    }
  };
  run.addEventListener("change", look);
  run.addEventListener("input", () => suggest(known, run.value));
  latch.addEventListener("change", look);
  show(
    dialog,
    h(
      "form",
      { onsubmit: submit },
      h("h2", { id: "act-title" }, t(`act_${action}`).replace("…", "")),
      action !== "unlatch" && h("label", {}, t("act_run"), run, known),
      action !== "release" && h("label", {}, t("act_reason"), reason),
      action === "rollback" && h("label", { class: "check" }, latch, t("act_latch_box")),
      h("h3", {}, t("act_what")),
      what,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, t("act_cancel")), press),
    ),
  );
  if (action !== "unlatch") suggest(known, "");
  look();
}

const planned = async (action, run) => (await ask("plan", { action, run_id: run })).body;

function told(action, { plan, dag_id: dagId }, latch) {
  if (plan.refused) return h("p", { class: "bad" }, t("act_refused", { why: plan.refused }));
  const names = { from: plan.from_run ?? t("no_run"), to: plan.to_run };
  return [
    h("p", { class: "switch" }, h("span", { class: "run" }, names.from), h("span", { "aria-hidden": "true" }, " → "), h("span", { class: "run" }, names.to)),
    h("ul", {}, h("li", {}, t(action === "rollback" ? "act_switch" : "act_judged", names)), action === "rollback" && plan.ends_trial && h("li", {}, t("act_ends_trial", { run: plan.ends_trial })), action === "rollback" && latch && h("li", {}, t("act_latch"))),
    dagId ? h("p", { class: "quiet" }, t("act_logged", { dag: dagId })) : h("p", { class: "bad" }, t("forbidden")),
  ];
}

/** Show what becomes of a DAG run until it ends, or the dialog is closed. */
async function follow(dialog, made, done) {
  const path = dagRunPath(made.dag_id, made.dag_run_id);
  const state = h("p", {}, t("act_started", { state: made.state }));
  show(dialog, h("div", {}, h("h2", { id: "act-title" }, made.dag_id), state, h("div", { class: "actions" }, h("a", { href: new URL(path, AIRFLOW).href, onclick: (event) => leave(event, path) }, t("act_open")), h("button", { onclick: () => dialog.close() }, t("act_close")))));
  done();
  while (dialog.isConnected) {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    try {
      const { state: now } = await dagRun(made.dag_id, made.dag_run_id);
      if (state.textContent !== t("act_started", { state: now })) {
        state.textContent = t("act_started", { state: now });
        say(state.textContent);
        done();
      }
      if (now === "success" || now === "failed") return;
    } catch {
      // Airflow is away for a moment: the DAG run is not
    }
  }
}

/** Say that somebody looks after an alert: who, Airflow knows; why and how long is asked for. */
export function lookAfter(alert, done) {
  const dialog = h("dialog", { "aria-labelledby": "act-title" });
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  const reason = h("textarea", { name: "reason", rows: 2, maxlength: 300, required: true });
  const minutes = h("select", { name: "minutes" }, [30, 60, 240, 1440].map((one) => h("option", { value: one, selected: one === 60 }, span(one * 60))));
  const problem = h("p", { class: "bad", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      await acknowledge(alert.fingerprint, { reason: reason.value, minutes: Number(minutes.value) });
      dialog.close();
      say(t("act_acknowledged"));
      done();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  show(
    dialog,
    h(
      "form",
      { onsubmit: submit },
      h("h2", { id: "act-title" }, `${t("act_acknowledge").replace("…", "")}: ${alert.name}`),
      h("label", {}, t("act_why_alert"), reason),
      h("label", {}, t("act_how_long"), minutes),
      h("h3", {}, t("act_what")),
      h("div", { class: "what" }, h("p", {}, t("act_acknowledge_what"))),
      problem,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, t("act_cancel")), h("button", { class: "primary" }, t("act_acknowledge").replace("…", ""))),
    ),
  );
  dialog.showModal();
}
