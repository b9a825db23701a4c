// Dialogs: a form that is sent to the API and stays open, with the reason, when it is refused.

import { ApiError, storeKey } from "./api.js";
import { h } from "./dom.js";

let keyDialog = null;
let dialogs = 0;

/** Ask for values and send them. `fields` are {name, label, hint, required, kind, value, min, max,
 * step, options}; `send(values)` resolves to the words that say what was done, or rejects.
 * Resolves to those words, or to null when the person goes back. */
export function ask({ title, words = [], fields = [], submit, danger = false, send }) {
  const trouble = h("p", { class: "trouble", role: "alert" });
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
  const back = h("button", { type: "button" }, "Go back");
  const heading = `dialog-${dialogs += 1}`;
  const form = h("form", { method: "dialog" }, h("h2", { id: heading }, title),
    words.map((word) => h("p", {}, word)), fields.map(field), trouble,
    h("p", { class: "buttons" }, go, back));
  const dialog = h("dialog", { "aria-labelledby": heading }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let done = null;
    const opener = document.activeElement;
    dialog.addEventListener("close", () => {
      dialog.remove();
      refocus(opener);
      resolve(done);
    });
    back.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      trouble.textContent = "";
      try {
        done = await withKey(() => send(values(form, fields)));
        dialog.close();
      } catch (error) {
        trouble.textContent = error.message;
      }
      go.disabled = false;
    });
    dialog.showModal();
  });
}

/** Give the focus back to what opened a dialog, or to its successor, or to the page's content. */
function refocus(opener) {
  const found = opener?.isConnected && opener !== document.body ? opener : document.getElementById(opener?.id);
  (found ?? document.getElementById("main")).focus();
}

function field(one) {
  const id = `field-${one.name}`;
  const common = {
    id, name: one.name, required: one.required, autocomplete: "off",
    "aria-describedby": one.hint ? `${id}-hint` : null,
  };
  const input = one.options
    ? h("select", common, one.options.map((option) =>
      h("option", { value: option.value, selected: option.value === one.value }, option.text)))
    : one.kind === "long"
      ? h("textarea", { ...common, rows: 3, maxlength: 1000 })
      : h("input", { ...common, type: one.kind ?? "text", value: one.value, min: one.min,
        max: one.max, step: one.step, maxlength: one.kind === "number" ? null : 200 });
  return h("div", { class: "field" }, h("label", { for: id }, one.label), input,
    one.hint ? h("p", { class: "note", id: `${id}-hint` }, one.hint) : null);
}

function values(form, fields) {
  const found = {};
  for (const { name, kind } of fields) {
    const text = form.elements[name].value.trim();
    found[name] = text === "" ? null : kind === "number" ? Number(text) : text;
  }
  return found;
}

/** Run `act`; when it is refused for want of a key, ask for one and run it again. */
export async function withKey(act) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof ApiError) || !error.wantsKey) throw error;
      if (!(await askKey(error.message))) throw error;
    }
  }
}

/** Ask for a key, one dialog for all who want one; resolves to whether one was given. */
function askKey(reason) {
  keyDialog ??= ask({
    title: "A key is needed",
    words: [reason, "It is kept in this tab until it is closed, and sent to this collector only."],
    fields: [{ name: "key", label: "Key", kind: "password", required: true }],
    submit: "Use this key",
    send: async ({ key }) => {
      if (!/^[\x21-\x7e]+$/.test(key)) throw new Error("A key has plain characters without spaces.");
      storeKey(key);
      return "key kept";
    },
  }).finally(() => { keyDialog = null; });
  return keyDialog.then((words) => words !== null);
}
