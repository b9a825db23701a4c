// The frame of every page: which one is shown, when it is asked for again, and what went wrong.

import { ApiError } from "./api.js";
import { withKey } from "./asking.js";
import { h, replace } from "./dom.js";

const REFRESH_MS = 5000;
const SAID_MS = 20000;
const PAGES = {
  "/": "./overview.js",
  "/decisions": "./decisions.js",
  "/alerts": "./alerts.js",
  "/policy": "./policy.js",
  "/savings": "./savings.js",
};

const main = document.getElementById("main");
const asof = document.getElementById("asof");
const pause = document.getElementById("pause");
const trouble = document.getElementById("trouble");
const said = document.getElementById("said");

const state = { page: null, shown: "", timer: 0, hush: 0, paused: false, seenMs: 0, loading: null };

/** Say what was done, for eyes and for screen readers. */
function say(words) {
  clearTimeout(state.hush);
  said.textContent = words;
  state.hush = setTimeout(() => { said.textContent = ""; }, SAID_MS);
}

/** Load and show the page's data; nothing is touched while it is the same or a dialog is open. */
async function load() {
  clearTimeout(state.timer);
  try {
    const found = await withKey(() => state.page.load(new URLSearchParams(location.search)));
    settled();
    const content = JSON.stringify(found);
    if (content !== state.shown && !document.querySelector("dialog[open]")) {
      state.shown = content;
      replace(main, state.page.render(found, { again: load, after }));
    }
  } catch (error) {
    failed(error);
    if (error instanceof ApiError && error.wantsKey) return;
  }
  plan();
}

function plan() {
  const live = state.page.live?.(new URLSearchParams(location.search)) ?? true;
  if (live && !state.paused && !document.hidden) state.timer = setTimeout(start, REFRESH_MS);
}

/** Load once at a time. */
function start() {
  state.loading ??= load().finally(() => { state.loading = null; });
  return state.loading;
}

/** Wait for what a person asked for, say what came of it and load anew. */
async function after(asked) {
  const words = await asked;
  if (words === null) return;
  say(words);
  await state.loading;
  await start();
}

function settled() {
  state.seenMs = Date.now();
  trouble.replaceChildren();
  asof.textContent = `as of ${new Date().toLocaleTimeString("sv-SE")}`;
}

function failed(error) {
  const stale = state.seenMs
    ? ` What is below is from ${new Date(state.seenMs).toLocaleTimeString("sv-SE")}.` : "";
  const words = `${error.message}${stale}`;
  if (trouble.dataset.words === words && trouble.hasChildNodes()) return;
  trouble.dataset.words = words;
  const again = h("button", { type: "button", click: start }, "Try again");
  trouble.replaceChildren(h("p", {}, words, " ", again));
  if (!state.seenMs) asof.textContent = "nothing loaded";
}

pause.addEventListener("click", () => {
  state.paused = !state.paused;
  pause.setAttribute("aria-pressed", String(state.paused));
  if (state.paused) clearTimeout(state.timer);
  else start();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(state.timer);
  else if (!state.paused) start();
});

for (const link of document.querySelectorAll("nav a")) {
  if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
}
state.page = await import(PAGES[location.pathname] ?? "./overview.js");
document.title = `${state.page.title} · tierwise`;
await start();
