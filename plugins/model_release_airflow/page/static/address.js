// Which view is open, as an address that can be sent to somebody: ours, and that of Airflow's page around the frame.

/** Airflow's window around ours; null: we are a page of our own, or somebody else's window is around us. */
function around() {
  try {
    return window.parent !== window && window.parent.location.href ? window.parent : null;
  } catch {
    return null; // another origin
  }
}

/** Begin with the view that Airflow's address names: a tab of a DAG does not hand it to us, a page of the navigation does. */
export function begin() {
  const hash = around()?.location.hash ?? "";
  if (!location.hash && hash.startsWith("#/")) history.replaceState(null, "", hash);
}

/** Write the view that is open into Airflow's address; that reloads nothing, and back and forward stay ours. */
export function tell() {
  const window = around();
  if (!window || window.location.hash === location.hash) return;
  const url = new URL(window.location.href);
  url.hash = location.hash;
  window.history.replaceState(window.history.state, "", url.href);
}

/** Write what is chosen within a view into the address, without going anywhere. */
export function rewrite(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  history.replaceState(null, "", `#/${path}${query ? `?${query}` : ""}`);
  tell();
}

/** The open view: its path, and what is chosen in it. */
export function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path, values: new URLSearchParams(query) };
}

/** The address to send: inside Airflow, where somebody who is not logged in is asked to. */
export const shared = () => (around() ?? window).location.href;
