// Questions to the page's own routes and to Airflow's API. All addresses are relative: it works below any base path.

const HERE = new URL(".", location.href);
/** Airflow's own address, with a slash at its end. */
export const AIRFLOW = new URL("../", HERE);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const kept = new Map(); // answers by address, for those that did not change

/** Return {body}: the very object of before if the answer did not change. */
export async function ask(path, parameters = {}) {
  const url = new URL(`api/${path}`, HERE);
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined && value !== null) url.searchParams.set(name, value);
  const known = kept.get(url.href);
  const answer = await fetch(url, { headers: known ? { "If-None-Match": known.tag } : {}, credentials: "same-origin" });
  if (answer.status === 304 && known) return { body: known.body };
  if (!answer.ok) throw await refusal(answer);
  const body = await answer.json();
  if (kept.size > 200) kept.clear();
  kept.set(url.href, { tag: answer.headers.get("ETag"), body });
  return { body };
}

/** Ask Airflow for a DAG run, as its own trigger button does; return what it made. */
export const trigger = (dagId, conf) => airflow("POST", `dags/${encodeURIComponent(dagId)}/dagRuns`, { logical_date: null, conf });

/** Acknowledge an alert: the one thing that the page's own routes change. */
export async function acknowledge(fingerprint, body) {
  const answer = await fetch(new URL(`api/alerts/${encodeURIComponent(fingerprint)}/acknowledge`, HERE), {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

/** The tasks of a DAG run, as Airflow has them; {body}, as `ask` gives it. */
export const tasksOf = async (dagId, runId) => ({ body: await airflow("GET", `dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}/taskInstances?limit=100`) });

export const dagRun = (dagId, runId) => airflow("GET", `dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}`);

async function airflow(method, path, body) {
  const answer = await fetch(new URL(`api/v2/${path}`, AIRFLOW), {
    method,
    credentials: "same-origin",
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

async function refusal(answer) {
  let detail = answer.statusText;
  try {
    const body = await answer.json();
    detail = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? body);
  } catch {
    // an answer that is no JSON says nothing more than its status
  }
  return new Refused(answer.status, detail);
}

/** Go to a page of Airflow, or to another site: the sandbox of the frame forbids it to a link in here, not to the window above. */
export function leave(event, path, fresh = false) {
  const url = new URL(path, AIRFLOW).href;
  try {
    if (window.top === window) return;
    const link = window.top.document.createElement("a");
    link.href = url;
    if (fresh || event.ctrlKey || event.metaKey || event.shiftKey) link.target = "_blank";
    link.rel = "noopener noreferrer";
    event.preventDefault();
    link.click();
  } catch {
    // another origin is above: the link does what the browser lets it do
  }
}

export const taskPath = (dagId, runId, taskId, mapIndex = -1) => `${dagRunPath(dagId, runId)}/tasks/${encodeURIComponent(taskId)}${mapIndex >= 0 ? `/mapped/${mapIndex}` : ""}`;
export const dagRunPath = (dagId, runId) => `dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`;
