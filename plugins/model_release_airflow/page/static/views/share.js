// The address of what is open, to be sent to somebody.

import { shared } from "../address.js";
import { h, say } from "../dom.js";
import { t } from "../look.js";

/** The button; where the browser gives no clipboard, it shows the address to be copied by hand. */
export const share = () => h("button", { class: "share", "data-key": "share", onclick: copy }, t("copy_link"));

async function copy(event) {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(shared());
  } catch {
    return byHand();
  }
  button.textContent = t("copied");
  say(t("copied"));
  setTimeout(() => {
    button.textContent = t("copy_link");
  }, 2000);
}

function byHand() {
  const field = h("input", { readonly: true, value: shared(), "aria-label": t("copy_link") });
  const dialog = h("dialog", { "aria-labelledby": "act-title" }, h("h2", { id: "act-title" }, t("copy_link")), field, h("div", { class: "actions" }, h("button", { onclick: () => dialog.close() }, t("act_close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  field.select();
}
