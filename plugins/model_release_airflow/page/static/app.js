// The page: which view is shown, and asking again every few seconds without drawing what did not change.

import { ask } from "./api.js";
import { h, show } from "./dom.js";
import { time } from "./format.js";
import { follow, t } from "./look.js";
import { buttons, lookAfter } from "./views/act.js";
import { choose, comparison } from "./views/compare.js";
import { alerts, replicas, summary, tick, traffic } from "./views/now.js";
import { promises, quality } from "./views/health.js";
import { failure } from "./views/parts.js";
import { release } from "./views/release.js";
import { list, picture } from "./views/releases.js";

const EVERY = { desired: 3000, fleet: 3000, traffic: 15000, alerts: 6000, health: 30000, timeline: 5000, release: 5000 };
const MONTH = 30 * 86400;
const given = new URLSearchParams(location.search);
const main = document.getElementById("main");
const known = {}; // the last answer to each question
let me;
let sections = {};
let timers = []; // what ends with the view
let stretch = { span: MONTH };
let pages = []; // releases beyond the first page
let after;
let outcome;
let refreshTimeline = () => {};
let lost; // since when Airflow does not answer

/**
 * Ask a question now and every few seconds, as long as the view is shown; `drawn` is called when the answer is another.
 * Returns a function that asks at once.
 */
function watch(name, path, parameters, drawn) {
  const view = sections;
  let fails = 0;
  let timer;
  const again = async () => {
    clearTimeout(timer);
    if (view !== sections) return;
    try {
      const { body } = await ask(path, parameters());
      if (view !== sections) return;
      fails = 0;
      online(true);
      if (body !== known[name]) {
        known[name] = body;
        drawn();
      }
    } catch (error) {
      if (view !== sections) return;
      fails += 1;
      if (known[name] === undefined || error.status === 401 || error.status === 403) {
        known[name] = undefined;
        drawn(error, again);
      } else online(false);
    }
    clearTimeout(timer);
    timer = setTimeout(again, EVERY[name] * Math.min(8, 2 ** fails) * (document.hidden ? 4 : 1));
    timers.push(() => clearTimeout(timer));
  };
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
  const at = location.hash.startsWith("#/compare") ? "compare" : "now";
  const link = (name, href) => h("a", { href, "aria-current": at === name ? "page" : null, "data-key": `nav_${name}` }, t(`nav_${name}`));
  show(document.getElementById("top"), h("nav", { "aria-label": t("title") }, link("now", "#/now"), link("compare", "#/compare")), h("p", { id: "offline", class: "offline", role: "status", hidden: true }));
}

function leaveView() {
  timers.forEach((end) => end());
  timers = [];
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
    watch("desired", "desired", () => ({}), drawSummary),
    watch("fleet", "fleet", () => ({}), (error, again) => { drawFleet(error, again); if (!error) drawSummary(); }),
    watch("traffic", "traffic", () => ({}), drawers[2]),
    watch("alerts", "alerts", () => ({}), drawers[3]),
    watch("timeline", "timeline", range, drawTimeline),
    watch("health", "health", () => ({}), drawHealth),
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
  refreshTimeline();
}

async function more(place, drawn) {
  const { body } = await ask("timeline", { ...range(), after: place });
  if (body.state !== "ok") return;
  pages.push(...body.data.releases);
  after = body.data.after;
  drawn();
}

function showRelease(path, parameters, alone) {
  main.replaceChildren(section("release"));
  const draw = (error, again) => show(sections.release, error ? failure(error, again) : release(known.release, alone));
  draw();
  watch("release", path, () => parameters, draw);
}

async function showCompare(left, right) {
  main.replaceChildren(choose(left, right), section("comparison"));
  const view = sections;
  if (!left || !right) return show(view.comparison, comparison());
  const load = async () => {
    show(view.comparison, h("p", { class: "quiet loading" }, t("loading")));
    try {
      const { body } = await ask("compare", { left, right });
      show(view.comparison, comparison(body, left, right));
    } catch (error) {
      show(view.comparison, failure(error, load));
    }
  };
  load();
}

function route() {
  leaveView();
  frame();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  if (path.startsWith("release/")) showRelease(`releases/${path.slice("release/".length)}`, {}, false);
  else if (path === "compare") showCompare(parameters.get("left"), parameters.get("right"));
  else if (!location.hash && given.get("dag_run_id")) showRelease("dag-run", { dag_id: given.get("dag_id"), dag_run_id: given.get("dag_run_id") }, true);
  else showNow();
}

window.addEventListener("hashchange", () => {
  route();
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
document.addEventListener("visibilitychange", () => !document.hidden && route());
setInterval(() => document.querySelectorAll(".lease").forEach(tick), 1000);
follow(route);
ask("me")
  .then(({ body }) => {
    me = body;
  })
  .catch(() => {})
  .finally(route);
