// Decisions: the newest, by role or task, and one of them whole.

import { ApiError, get, getText, segment } from "./api.js";
import { badge, facts, h, table } from "./dom.js";
import * as say from "./format.js";

export const title = "Decisions";

const LIMIT = 50;
// JSON.parse rounds nanoseconds; the last number of the answer is taken from its text instead.
const FOLLOWING = /"next_before_ns":\s*(\d+)\s*\}\s*$/;

/** A page back in time and one decision do not change any more. */
export const live = (query) => !query.get("before") && !query.get("id");

export async function load(query) {
  const id = query.get("id");
  return id ? one(id) : list(query);
}

async function list(query) {
  const asked = { role: query.get("role") ?? "", task: query.get("task") ?? "" };
  const answer = await getText("/api/decisions", { limit: LIMIT, before_ns: query.get("before"), ...asked });
  const { decisions } = JSON.parse(answer);
  const following = FOLLOWING.exec(answer)?.[1] ?? null;
  const { roles } = await get("/api/roles", { window_seconds: 604800 });
  return { asked, decisions, following, roles: roles.map((role) => role.role).filter((role) => role !== null) };
}

async function one(id) {
  const found = await get(`/api/decisions/${segment(id)}`);
  const { revision } = found.decision;
  let served = null;
  if (revision && revision !== "declared") {
    try {
      served = await get(`/api/policy/revisions/${segment(revision)}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    }
  }
  return { ...found, shares: served?.shares ?? null };
}

export function render(found) {
  return found.decision ? whole(found) : newest(found);
}

// The list -----------------------------------------------------------------------------------

function newest({ asked, decisions, following, roles }) {
  const next = following ? new URLSearchParams({ ...asked, before: following }) : null;
  return [
    h("div", { class: "title" }, h("h1", {}, title)),
    filter(asked, roles),
    table({
      caption: "Newest first", id: "decisions", rows: decisions, columns: COLUMNS,
      empty: asked.role || asked.task
        ? "No decision has this role and task. Both are compared whole and by case."
        : "No decision was made yet. Steps sent to the gateway show here within seconds.",
    }),
    next ? h("p", {}, h("a", { href: `/decisions?${next}`, id: "older" }, "Older decisions")) : h("p", { class: "note" }, "There are no older ones."),
  ];
}

function filter(asked, roles) {
  return h("section", { "aria-label": "Filter" },
    h("form", { class: "filter", method: "get", action: "/decisions" },
      h("div", { class: "field" }, h("label", { for: "role" }, "Role"),
        h("input", { id: "role", name: "role", value: asked.role, list: "roles", maxlength: 200 }),
        h("datalist", { id: "roles" }, roles.map((role) => h("option", { value: role })))),
      h("div", { class: "field" }, h("label", { for: "task" }, "Task"),
        h("input", { id: "task", name: "task", value: asked.task, maxlength: 256 })),
      h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Show"),
        asked.role || asked.task ? h("a", { href: "/decisions" }, "Show all") : null)));
}

const COLUMNS = [
  { head: "Decision", cell: (row) =>
    h("a", { href: `/decisions?id=${segment(row.decision_id)}` }, say.short(row.decision_id)) },
  { head: "Time", cell: (row) => say.when(row.start_ns) },
  { head: "Role", name: true, cell: (row) => say.roleName(row.role) },
  { head: "Tier", name: true, cell: (row) => tiers(row) },
  { head: "Model", name: true, cell: (row) => say.text(row.model) },
  { head: "Reason", name: true, cell: (row) => say.text(row.reason) },
  { head: "Probability", numeric: true, cell: (row) => say.score(row.propensity) },
  { head: "Attempts", numeric: true, cell: (row) => say.count(row.attempts) },
  { head: "Cost", numeric: true, cell: (row) => say.dollars(row.cost_usd) },
  { head: "Quality", numeric: true, cell: (row) => say.score(row.quality) },
  { head: "Outcome", cell: (row) => outcome(row) },
];

function tiers(row) {
  if (row.tier_start === null || row.tier_start === row.tier || row.tier === null) {
    return say.text(row.tier ?? row.tier_start);
  }
  return `${row.tier_start} → ${row.tier}`;
}

function outcome(row) {
  if (row.error_type !== null || row.http_status >= 400) {
    return badge("bad", row.error_type ?? `HTTP ${row.http_status}`);
  }
  if (row.escalated_from !== null) return badge("warn", "escalated");
  return row.http_status === null ? say.unknown() : badge("good", "answered");
}

// One decision -------------------------------------------------------------------------------

function whole(found) {
  const { decision } = found;
  return [
    h("div", { class: "title" }, h("h1", {}, "Decision ", h("code", {}, decision.decision_id)),
      h("a", { href: "/decisions" }, "All decisions")),
    h("section", {}, h("h2", {}, "What came of it"), outcome(decision), facts(results(decision))),
    h("section", {}, h("h2", {}, "What it was decided by"), facts(basis(decision)), offers(found)),
    tries(found.attempts),
    words("Verdicts", found.verdicts, "No check, judge or evaluation said a word about it yet."),
    words("Feedback", found.feedback, "Nobody gave feedback. POST /v1/feedback takes it, late too."),
  ];
}

function results(row) {
  return [
    ["Answered by", h("span", {}, tiers(row), " · ", say.text(row.model))],
    ["Cost of all attempts", say.dollars(row.cost_usd)],
    ["Quality", h("span", {}, say.score(row.quality), row.quality_source ? ` by ${row.quality_source}` : "")],
    ["Attempts", say.count(row.attempts)],
    ["Time taken", say.seconds(row.seconds)],
    ["Of it the gateway's", say.or(row.overhead_ms, (n) => `${n.toFixed(2)} ms`)],
    ["Began", say.when(row.start_ns)],
    ["Trace", say.or(row.trace_id, (id) => h("code", {}, id))],
    ["Task", say.or(row.task, (task) => h("a", { href: `/decisions?task=${segment(task)}` }, task))],
  ];
}

function basis(row) {
  return [
    ["Role", h("span", {}, say.roleName(row.role), row.role_source ? ` (from ${row.role_source})` : "")],
    ["Cell", say.or(row.cell, (cell) => h("code", {}, cell))],
    ["Collaboration mode", row.mode ?? "none"],
    ["Plan", row.plan ?? "none"],
    ["Dialect", say.text(row.dialect)],
    ["Reason", say.text(row.reason)],
    ["Explored", row.explore ? "yes" : "no"],
    ["Pinned", row.pinned ? "yes" : "no"],
    ["Revision", say.or(row.revision, (id) => id === "declared" ? id
      : h("a", { href: `/policy?revision=${segment(id)}` }, say.short(id)))],
    ["Policy", say.short(row.policy_hash)],
  ];
}

/** What was offered, with the probability of what was taken and the revision's shares. */
function offers({ decision, shares }) {
  const chosen = decision.on_fail ? `${decision.tier_start}/${decision.on_fail}` : decision.tier_start;
  const own = sharesOf(shares, decision);
  return table({
    caption: "Offered", id: "offered", rows: decision.offered,
    empty: "What was offered is unknown.",
    columns: [
      { head: "Arm", cell: (arm) => h("code", {}, arm) },
      { head: "Taken", cell: (arm) => (arm === chosen ? badge("good", "taken") : "no") },
      { head: "Probability", numeric: true, cell: (arm) => (arm === chosen ? say.score(decision.propensity) : "not logged") },
      { head: "Share in its revision", numeric: true, cell: (arm) => say.percent(own === null ? null : own[arm] ?? 0) },
    ].filter((column) => own !== null || !column.head.startsWith("Share")),
  });
}

function sharesOf(shares, { cell, role, mode }) {
  if (shares === null) return null;
  const names = [cell, `${role}|${mode ?? ""}|`, `${role}||`];
  const name = names.find((one) => one !== null && Object.hasOwn(shares, one));
  return name === undefined ? null : shares[name];
}

function tries(attempts) {
  return table({
    caption: "Attempts", id: "attempts", rows: attempts,
    empty: "No call to a model is known: code answered, or its spans are on their way.",
    columns: [
      { head: "Attempt", cell: (row) => say.text(row.attempt) },
      { head: "Because", cell: (row) => row.cause ?? "first" },
      { head: "Tier", cell: (row) => say.text(row.tier) },
      { head: "Model", wide: true, cell: (row) => h("span", {}, say.text(row.model),
        row.model_served && row.model_served !== row.model ? ` (served: ${row.model_served})` : "") },
      { head: "Input", numeric: true, cell: (row) => say.count(row.input_tokens) },
      { head: "Cached", numeric: true, cell: (row) => say.count(row.cache_read_tokens) },
      { head: "Output", numeric: true, cell: (row) => say.count(row.output_tokens) },
      { head: "Cost", numeric: true, cell: (row) => say.dollars(row.cost_usd) },
      { head: "Time", numeric: true, cell: (row) => say.seconds((row.end_ns - row.start_ns) / 1e9) },
      { head: "Quality", numeric: true, cell: (row) => say.score(row.quality) },
      { head: "Outcome", cell: (row) => (row.error_type !== null || row.http_status >= 400
        ? badge("bad", row.error_type ?? `HTTP ${row.http_status}`)
        : say.text(row.finish_reason ?? row.http_status)) },
    ],
  });
}

function words(caption, rows, empty) {
  return table({
    caption, id: caption.toLowerCase(), rows, empty,
    columns: [
      { head: "Name", cell: (row) => row.name },
      { head: "Source", cell: (row) => row.source },
      { head: "Score", numeric: true, cell: (row) => say.score(row.score) },
      { head: "Label", cell: (row) => row.label ?? "none" },
      { head: "Comment", wide: true, cell: (row) => row.comment ?? "none" },
      { head: "Proven sender", cell: (row) => (row.authenticated ? "yes" : "no") },
      { head: "Time", cell: (row) => say.when(row.time_ns) },
    ],
  });
}
