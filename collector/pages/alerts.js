// Alerts: what stands, by what evidence, what could fire at all, who muted it and who is told.

import { change, get, segment } from "./api.js";
import { ask, withKey } from "./asking.js";
import { badge, button, facts, h, table } from "./dom.js";
import * as say from "./format.js";

export const title = "Alerts";

const SIDES = { CostHigh: "cost", QualityLow: "quality" };
const STATES = {
  firing: ["bad", "firing"], keep_firing: ["bad", "firing, condition gone"], pending: ["warn", "pending"],
  no_data: ["warn", "no data"], resolved: ["good", "resolved"], inactive: ["idle", "inactive"],
};
const WATCHDOG = "Watchdog"; // always fires: its absence is the alarm
const QUIET = ["no_data", "inactive"];
const RANK = ["firing", "keep_firing", "pending", "no_data", "resolved", "inactive"];

export async function load() {
  const [{ alerts }, armed, { silences }, { sinks }] = await Promise.all([
    get("/api/alerts"), get("/api/alerts/armed"), get("/api/alerts/silences"), get("/api/sinks"),
  ]);
  alerts.sort((a, b) => (a.name === WATCHDOG) - (b.name === WATCHDOG) || RANK.indexOf(a.state) - RANK.indexOf(b.state) || (a.name < b.name ? -1 : 1));
  return { alerts, armed, silences, sinks };
}

export function render({ alerts, armed, silences, sinks }, { after }) {
  return [
    h("div", { class: "title" }, h("h1", {}, title)),
    ...standing(alerts, after), matrix(armed), muted(silences, after), receivers(sinks, after),
  ];
}

// What stands --------------------------------------------------------------------------------

function standing(alerts, after) {
  const loud = alerts.filter((one) => !QUIET.includes(one.state));
  const quiet = alerts.filter((one) => QUIET.includes(one.state));
  return [
    list("Alerts that stand", "alerts", loud, after),
    quiet.length === 0 ? null : h("details", { id: "quiet" },
      h("summary", {}, `${quiet.length} alerts without data, or with nothing to tell`),
      list("Quiet alerts", "quiet-alerts", quiet, after)),
  ].filter((part) => part !== null);
}

function list(caption, id, rows, after) {
  return table({
    caption, id, rows,
    empty: "No alert stands. They need [alerts.cost] or [alerts.quality] in policy.toml.",
    columns: [
      { head: "Alert", cell: (row) => row.name },
      { head: "Role", cell: (row) => row.role ?? "all roles" },
      { head: "State", cell: (row) => h("span", { class: "lamps" }, badge(...stateOf(row)),
        row.muted ? badge("idle", "muted") : null) },
      { head: "Since", cell: (row) => say.when(row.since_ns) },
      { head: "Evidence", wide: true, cell: (row) => evidence(row) },
      { head: "Known to", cell: (row) => (row.acknowledged ? `${row.acknowledged.author}: ${row.acknowledged.comment}` : "nobody") },
      { head: "Do", cell: (row) => h("span", { class: "buttons" },
        button(`explain-${row.fingerprint}`, "Explain", () => after(explained(row)), { "aria-label": `Explain ${named(row)}` }),
        ["firing", "keep_firing"].includes(row.state) && row.name !== WATCHDOG && !row.acknowledged
          ? button(`ack-${row.fingerprint}`, "Acknowledge", () => after(acknowledge(row)), { "aria-label": `Acknowledge ${named(row)}` })
          : null,
        button(`silence-${row.fingerprint}`, "Silence", () => after(silence(row)), { "aria-label": `Silence ${named(row)}` })) },
    ],
  });
}

/** The alert in words that tell it from the same one of another role. */
const named = ({ name, role }) => (role === null ? name : `${name} for ${role}`);

function stateOf({ name, state }) {
  if (name === WATCHDOG && state === "firing") return ["good", "fires, as it must"];
  return STATES[state] ?? ["idle", state];
}

function evidence({ annotations, fingerprint }) {
  const pairs = Object.entries(annotations).filter(([name, value]) => name !== "summary" && value !== "");
  if (!annotations.summary && pairs.length === 0) return h("span", { class: "note" }, "it has not fired yet");
  return h("div", {}, annotations.summary ?? "",
    pairs.length ? h("details", { id: `evidence-${fingerprint}` }, h("summary", {}, "evidence"), facts(pairs)) : null);
}

/** How late the alert comes for one size of change. */
function late({ effect, median, missed }) {
  const after = median === null ? "over 1,000" : Math.round(median).toLocaleString("en-US");
  return `${effect}: median delay ${after} outcomes, ${say.percentText(missed)} missed.`;
}

/** What the alert means, and its evidence against its threshold. */
async function explained(row) {
  const query = row.role === null ? {} : { role: row.role };
  let found;
  try {
    found = await withKey(() => get(`/api/alerts/explain/${segment(row.name)}`, query));
  } catch (error) {
    found = { meaning: error.message, question: "none", remedy: "none" };
  }
  const bound = found.arl ? ` of ${found.arl.toLocaleString("en-US")} at which it fires` : "";
  return ask({
    title: named(row),
    words: [
      found.meaning, `First question: ${found.question}`, `Remedy: ${found.remedy}`,
      h("span", {}, "Evidence: ", say.or(found.evidence, (n) => Number(n.toPrecision(4)).toLocaleString("en-US")), bound),
      found.errors ?? "",
      found.arl === undefined ? ""
        : `False alarms: at most ${say.percentText(found.false_alarm_bound)} a quarter, of ${found.outcomes_per_quarter} outcomes (${found.traffic}).`,
      ...(found.delays ?? []).map(late),
      found.late_seconds === undefined ? "" : `Delay: at most ${found.late_seconds} s after the condition holds.`,
      ...(found.reached ?? []).map(({ effect, minutes }) =>
        `${effect}, from half of it: ${minutes === null ? "never" : `after ${Math.round(minutes)} minutes`}.`),
    ].filter((words) => words !== ""),
    submit: "Close", send: async () => "",
  }).then(() => null);
}

function acknowledge(row) {
  return ask({
    title: `Acknowledge ${named(row)}`,
    words: ["This ends the safety action: the roles concerned may serve what was learned again."],
    fields: [who(), { name: "comment", label: "What is known", kind: "long", required: true }],
    submit: "Acknowledge",
    send: async ({ author, comment }) => {
      await change("POST", `/api/alerts/${segment(row.fingerprint)}/ack`, { author: author ?? "", comment });
      return `${named(row)} is acknowledged.`;
    },
  });
}

const who = () => ({ name: "author", label: "Your name", required: true, hint: "With a key, the key's name is taken." });

// What could fire ----------------------------------------------------------------------------

function matrix({ sides, unsafe_roles: unsafe }) {
  const names = [...new Set(sides.flatMap((side) => side.conditions.map((one) => one.name)))];
  return table({
    caption: "Armed: could it really fire now?", id: "armed", rows: sides,
    empty: "No role learns, so nothing has to be armed. learn = \"observe\" or more in policy.toml changes that.",
    columns: [
      { head: "Role", cell: (side) => h("span", {}, side.role, unsafe.includes(side.role) ? [" ", badge("warn", "fallen back")] : null) },
      { head: "Side", cell: (side) => SIDES[side.alert] ?? side.alert },
      { head: "Armed", cell: (side) => badge(side.armed ? "good" : "bad", side.armed ? "armed" : "not armed") },
      ...names.map((name) => ({ head: name, cell: (side) => condition(side.conditions.find((one) => one.name === name)) })),
    ],
  });
}

function condition(one) {
  if (one === undefined) return h("span", { class: "note" }, "not looked at");
  return h("span", {}, badge(one.holds ? "good" : "bad", one.holds ? "yes" : "no"), h("br"), h("span", { class: "note" }, one.words));
}

// Silences -----------------------------------------------------------------------------------

function muted(silences, after) {
  return h("section", {},
    table({
      caption: "Silences", id: "silences", rows: silences,
      empty: "Nothing is muted.",
      columns: [
        { head: "Mutes", cell: (row) => row.matchers.map((one) => `${one.name}=${one.value}`).join(", ") },
        { head: "Status", cell: (row) => badge(row.status === "active" ? "warn" : "idle", row.status) },
        { head: "Until", cell: (row) => say.when(row.ends_ns) },
        { head: "By", cell: (row) => row.author },
        { head: "Why", wide: true, cell: (row) => row.comment },
        { head: "Do", cell: (row) => (["active", "pending"].includes(row.status)
          ? button(`end-${row.id}`, "End now", () => after(ended(row)), { "aria-label": `End the silence of ${row.author} now` }) : "over") },
      ],
    }),
    h("p", { class: "buttons" }, button("new-silence", "New silence", () => after(silence(null)))));
}

function silence(alert) {
  return ask({
    title: "Silence an alert",
    words: ["A silence mutes what is told to people and disarms the side it covers. It never stops the safety action."],
    fields: [
      { name: "alertname", label: "Alert", required: true, value: alert?.name, hint: "A name; * stands for any characters." },
      { name: "role", label: "Role", value: alert?.role, hint: "Empty: all roles." },
      { name: "hours", label: "Hours", kind: "number", required: true, value: 2, min: 0.1, max: 168, step: "any" },
      who(),
      { name: "comment", label: "Why", kind: "long", required: true },
    ],
    submit: "Silence",
    send: async ({ alertname, role, hours, author, comment }) => {
      const matchers = role === null ? { alertname } : { alertname, role };
      await change("POST", "/api/alerts/silences", { matchers, hours, author: author ?? "", comment });
      return `${alertname} is silent for ${hours} h.`;
    },
  });
}

function ended(row) {
  return ask({
    title: "End this silence now?", words: [`It is ${row.author}'s: ${row.comment}`], submit: "End it",
    send: async () => {
      await change("DELETE", `/api/alerts/silences/${segment(row.id)}`, null);
      return "The silence is over.";
    },
  });
}

// Who is told --------------------------------------------------------------------------------

function receivers(sinks, after) {
  return h("section", {},
    table({
      caption: "Where notices go", id: "sinks", rows: sinks,
      empty: "No sink is configured: add [[alerts.notify]] to policy.toml.",
      columns: [
        { head: "Sink", cell: (row) => row.name },
        { head: "Kind", cell: (row) => row.kind },
        { head: "State", cell: (row) => sinkState(row) },
        { head: "Waiting", numeric: true, cell: (row) => say.count(row.pending) },
        { head: "Given up", numeric: true, cell: (row) => say.count(row.given_up) },
        { head: "Last acknowledged", cell: (row) => (row.acknowledged_ns ? say.when(row.acknowledged_ns) : "never") },
        { head: "Last good test", cell: (row) => (row.tested_ns ? say.when(row.tested_ns) : "never") },
        { head: "Last error", wide: true, cell: (row) => row.error ?? "none" },
      ],
    }),
    h("p", { class: "buttons" }, button("send-test", "Send a test", () => after(test()), { disabled: sinks.length === 0 })));
}

function sinkState(row) {
  if (row.fault) return badge("bad", row.fault);
  if (row.disabled) return badge("bad", "disabled");
  return row.tested_ns ? badge("good", "proven") : badge("warn", "not proven: send a test");
}

function test() {
  return ask({
    title: "Send a test to every sink?", words: ["People who are paged by one of them will see it."],
    submit: "Send", send: async () => {
      const { sinks } = await change("POST", "/api/alerts/test", {});
      return sinks.map((one) => `${one.sink}: ${one.acknowledged ? "acknowledged" : one.message}`).join("; ");
    },
  });
}
