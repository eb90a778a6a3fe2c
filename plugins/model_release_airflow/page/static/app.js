// The page: which view is shown, and asking again every few seconds without drawing what did not change.

import { begin, here, rewrite, tell } from "./address.js";
import { ask, tasksOf } from "./api.js";
import { h, show } from "./dom.js";
import { time, zoneName } from "./format.js";
import { follow, t } from "./look.js";
import { buttons, lookAfter } from "./views/act.js";
import { behind } from "./views/behind.js";
import { choose, comparison } from "./views/compare.js";
import { alerts, replicas, summary, tick, traffic } from "./views/now.js";
import { promises, quality } from "./views/health.js";
import { failure } from "./views/parts.js";
import { ledger, release } from "./views/release.js";
import { list, picture } from "./views/releases.js";
import { share } from "./views/share.js";
import { tasks } from "./views/tasks.js";

const EVERY = { desired: 3000, fleet: 3000, traffic: 15000, alerts: 6000, health: 30000, timeline: 5000, release: 5000, behind: 20000, tasks: 10000 };
const AGED = 30000; // how often "3 minutes ago" is written anew
const MONTH = 30 * 86400;
const given = new URLSearchParams(location.search);
const main = document.getElementById("main");
const known = {}; // the last answer to each question
let me;
let sections = {};
let timers = []; // what ends with the view
let watched = []; // asks each question of the view at once
let stretch = { span: MONTH };
let pages = []; // releases beyond the first page
let after;
let outcome;
let refreshTimeline = () => {};
let lost; // since when Airflow does not answer

/**
 * Ask `question` now and every few seconds, as long as the view is shown; `drawn` is called when the answer is another.
 * Returns a function that asks at once.
 */
function watch(name, question, drawn) {
  const view = sections;
  let fails = 0;
  let timer;
  const again = async () => {
    clearTimeout(timer);
    if (view !== sections) return;
    try {
      const { body } = await question();
      if (view !== sections) return;
      fails = 0;
      online(true);
      if (body !== known[name] && JSON.stringify(body) !== JSON.stringify(known[name])) {
        known[name] = body;
        drawn();
      }
    } catch (error) {
      if (view !== sections) return;
      fails += 1;
      if (known[name] === undefined || (error.status >= 400 && error.status < 500)) {
        known[name] = undefined;
        drawn(error, again);
      } else online(false);
    }
    clearTimeout(timer);
    timer = setTimeout(again, EVERY[name] * Math.min(8, 2 ** fails) * (document.hidden ? 4 : 1));
    timers.push(() => clearTimeout(timer));
  };
  const aged = setInterval(() => known[name] !== undefined && !lost && drawn(), AGED);
  timers.push(() => clearInterval(aged));
  watched.push(again);
  again();
  return again;
}

function online(answers) {
  if (answers) lost = undefined;
  else lost ??= Date.now();
  const bar = document.getElementById("offline");
  bar.textContent = lost ? t("offline", { at: time(lost) }) : "";
  bar.hidden = !lost;
}

function frame() {
  document.querySelector(".skip").textContent = t("skip");
  const at = here().path.startsWith("compare") ? "compare" : "now";
  const link = (name, href) => h("a", { href, "aria-current": at === name ? "page" : null, "data-key": `nav_${name}` }, t(`nav_${name}`));
  show(document.getElementById("top"), h("nav", { "aria-label": t("title") }, link("now", "#/now"), link("compare", "#/compare")), h("p", { class: "quiet zone" }, t("times_in", { zone: zoneName() })), share(), h("p", { id: "offline", class: "offline", role: "status", hidden: true }));
}

function leaveView() {
  timers.forEach((end) => end());
  timers = [];
  watched = [];
  sections = {};
  for (const name of Object.keys(known)) delete known[name];
}

function section(name, className = "") {
  sections[name] = h("div", { class: className });
  return sections[name];
}

const open = (id) => {
  location.hash = `#/release/${encodeURIComponent(id)}`;
};

function showNow() {
  main.replaceChildren(section("summary"), h("div", { class: "row" }, section("replicas"), section("traffic"), section("alerts")), section("timeline"), h("div", { class: "row two" }, section("quality"), section("promises")), section("list"));
  const drawSummary = (error, again) => show(sections.summary, error ? failure(error, again) : summary(known.desired, known.fleet, { me, act: (now) => buttons(now, me, refresh) }));
  const part = (name, draw) => (error, again) => show(sections[name], error ? failure(error, again) : draw(known[name === "replicas" ? "fleet" : name]));
  const drawTimeline = (error, again) => {
    if (error) return show(sections.timeline, failure(error, again));
    const width = Math.max(280, sections.timeline.clientWidth - 34);
    show(sections.timeline, picture(known.timeline, width, stretch, { open, go }));
    drawList();
  };
  const drawList = () => {
    const data = known.timeline?.data;
    const rows = data ? [...data.releases, ...pages] : [];
    const next = pages.length ? after : data?.after;
    show(sections.list, list(known.timeline, rows, { open, outcome, choose: (one) => go(stretch, one), more: next && (() => more(next, drawList)) }));
  };
  const drawFleet = part("replicas", replicas);
  const drawers = [drawSummary, drawFleet, part("traffic", traffic), part("alerts", (found) => alerts(found, me?.may_acknowledge && ((one) => lookAfter(one, () => asked[3]())))), drawTimeline];
  drawers.forEach((draw) => draw());
  const drawQuality = part("quality", () => quality(known.health));
  const drawPromises = part("promises", () => promises(known.health));
  const drawHealth = (error, again) => [drawQuality, drawPromises].forEach((draw) => draw(error, again));
  drawHealth();
  const asked = [
    watch("desired", () => ask("desired"), drawSummary),
    watch("fleet", () => ask("fleet"), (error, again) => { drawFleet(error, again); if (!error) drawSummary(); }),
    watch("traffic", () => ask("traffic"), drawers[2]),
    watch("alerts", () => ask("alerts"), drawers[3]),
    watch("timeline", () => ask("timeline", range()), drawTimeline),
    watch("health", () => ask("health"), drawHealth),
  ];
  const refresh = () => asked.slice(0, 2).forEach((again) => again());
  refreshTimeline = asked[4];
  const resize = new ResizeObserver(() => known.timeline && drawTimeline());
  resize.observe(main);
  timers.push(() => resize.disconnect());
}

/** The stretch of time that is asked for: one that ends now moves on by whole minutes, so that a picture stays a picture. */
function range() {
  const end = stretch.end ?? Math.ceil(Date.now() / 60000) * 60;
  const start = stretch.start ?? end - stretch.span;
  return { start: new Date(start * 1000).toISOString(), end: new Date(end * 1000).toISOString(), outcome };
}

/** Show another stretch of time, or other releases of it; what is shown stays until the answer is there. */
function go(next, chosen = outcome) {
  const current = Date.now() / 1000;
  stretch = next.end !== undefined && next.end >= current ? { span: next.end - next.start } : next;
  outcome = chosen;
  pages = [];
  const whole = (value) => (value === undefined ? undefined : Math.round(value));
  rewrite("now", { from: whole(stretch.start), to: whole(stretch.end), span: stretch.span === MONTH ? undefined : whole(stretch.span), outcome });
  refreshTimeline();
}

/** The stretch of time and the releases that an address names. */
function chosen(values) {
  const given = (key) => (Number(values.get(key)) > 0 ? Number(values.get(key)) : undefined);
  const [start, end] = [given("from"), given("to")];
  stretch = start && end > start ? { start, end } : { span: given("span") ?? MONTH };
  outcome = values.get("outcome") ?? undefined;
  pages = [];
}

async function more(place, drawn) {
  const { body } = await ask("timeline", { ...range(), after: place });
  if (body.state !== "ok") return;
  pages.push(...body.data.releases);
  after = body.data.after;
  drawn();
}

/** One release; what stands behind it, its tasks, and the ledger's own words follow when it is known which it is. */
function showRelease(path, parameters, alone) {
  main.replaceChildren(section("release"), section("behind"), section("tasks"), section("ledger"));
  const one = () => known.release?.data?.release;
  const drawBehind = (error, again) => show(sections.behind, error ? failure(error, again) : one() ? behind(known.behind, one(), drawBehind) : []);
  const drawTasks = (error) => one()?.dag_run_id && show(sections.tasks, tasks(known.tasks, error, one()));
  const more = () => {
    watch("behind", () => ask(`releases/${encodeURIComponent(one().release_id)}/behind`), drawBehind);
    if (one().dag_run_id) watch("tasks", () => tasksOf(one().dag_id, one().dag_run_id), drawTasks);
  };
  let begun = false;
  const draw = (error, again) => {
    show(sections.release, error ? failure(error, again) : release(known.release, alone));
    show(sections.ledger, error ? [] : ledger(known.release));
    if (begun || !one()) return;
    begun = true;
    more();
  };
  draw();
  watch("release", () => ask(path, parameters), draw);
}

async function showCompare(left, right, user) {
  main.replaceChildren(choose(left, right), section("comparison"));
  const view = sections;
  if (!left || !right) return show(view.comparison, comparison());
  const load = async () => {
    show(view.comparison, h("p", { class: "quiet loading" }, t("loading")));
    try {
      const { body } = await ask("compare", { left, right });
      if (view === sections) show(view.comparison, comparison(body, left, right, user));
    } catch (error) {
      show(view.comparison, failure(error, load));
    }
  };
  load();
}

function route() {
  leaveView();
  frame();
  tell();
  const { path, values } = here();
  if (path.startsWith("release/")) showRelease(`releases/${path.slice("release/".length)}`, {}, false);
  else if (path === "compare") showCompare(values.get("left"), values.get("right"), values.get("user"));
  else if (!location.hash && given.get("dag_run_id")) showRelease("dag-run", { dag_id: given.get("dag_id"), dag_run_id: given.get("dag_run_id") }, true);
  else {
    chosen(values);
    showNow();
  }
}

window.addEventListener("hashchange", () => {
  route();
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
document.addEventListener("visibilitychange", () => !document.hidden && watched.forEach((again) => again()));
setInterval(() => document.querySelectorAll(".lease").forEach(tick), 1000);
begin();
follow(route);
ask("me")
  .then(({ body }) => {
    me = body;
  })
  .catch(() => {})
  .finally(route);
