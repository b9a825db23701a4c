// Policy: what is in force and held, what waits for a person, what was before, and who did what.

import { change, get, segment } from "./api.js";
import { ask, withKey } from "./asking.js";
import { badge, button, facts, h, table } from "./dom.js";
import * as say from "./format.js";
import * as review from "./review.js";

export const title = "Policy";

/** The preview of one revision is long to compute: it is not asked for again and again. */
export const live = (query) => !query.get("revision") && !query.get("before");

export async function load(query) {
  const name = query.get("revision");
  if (name) return review.load(name);
  const [book, proposed, shadow, learning, log] = await Promise.all([
    get("/api/policy/revisions", { limit: 20, before: query.get("before") }),
    get("/api/policy/revisions", { status: "proposed" }),
    get("/api/policy/revisions", { status: "shadow" }),
    get("/api/learning"),
    get("/api/audit-log", { limit: 20 }),
  ]);
  return { book, queue: [...proposed.revisions, ...shadow.revisions], learning, log };
}

export function render(found, tools) {
  if (found.preview !== undefined) return review.render(found, tools);
  const { book, queue, learning, log } = found;
  return [
    h("div", { class: "title" }, h("h1", {}, title)),
    force(book, learning, tools.after),
    waiting(queue),
    learner(learning),
    history(book),
    deeds(log, tools.after),
  ];
}

// In force -----------------------------------------------------------------------------------

function force(book, learning, after) {
  const declared = book.active === "declared";
  const roles = [...new Set(learning.roles.map((one) => one.role))];
  return h("section", {}, h("h2", {}, "In force"),
    facts([
      ["Revision", declared ? "declared: what policy.toml says" : review.link(book.active)],
      ["Since", book.activated_ns ? say.when(book.activated_ns) : declared ? "the start" : say.unknown()],
      ["Served to", say.percent(book.rollout, 0)],
    ]),
    h("p", { class: "buttons" },
      declared ? null : button("rollback", "Roll back", () => after(rollback(book))),
      button("freeze", "Freeze", () => after(freeze(book, roles))),
      button("pin", "Pin a role", () => after(pin(book, roles)))),
    holds(book, after));
}

function holds(book, after) {
  return table({
    caption: "Held by people", id: "holds", rows: book.holds,
    empty: "Nothing is pinned or frozen.",
    columns: [
      { head: "Role", cell: (row) => (row.role === "*" ? "all roles" : row.role) },
      { head: "Hold", cell: (row) => badge("warn", row.kind === "pin" ? `pinned to ${row.arm}` : "frozen") },
      { head: "By", cell: (row) => row.owner },
      { head: "Why", wide: true, cell: (row) => row.reason },
      { head: "Until", cell: (row) => (row.until_ns ? say.when(row.until_ns) : "it is thawed") },
      { head: "Do", cell: (row) => (row.kind === "pin"
        ? button(`unpin-${row.role}`, "Unpin", () => after(release(book, row, "unpin")), { "aria-label": `Unpin ${row.role}` })
        : button(`thaw-${row.role}`, "Thaw", () => after(release(book, row, "thaw")), { "aria-label": `Thaw ${row.role}` })) },
    ],
  });
}

const reason = { name: "reason", label: "Reason", kind: "long", required: true, hint: "It is kept in the audit log." };

function rollback(book) {
  return ask({
    title: "Roll back", danger: true,
    words: ["At once, without a preview. Every role that this moves is frozen until somebody thaws it."],
    fields: [
      { name: "to", label: "Back to", hint: "A revision's id or declared; empty: the parent of what is in force." },
      reason,
    ],
    submit: "Roll back",
    send: async ({ to, reason: why }) => {
      const done = await change("POST", "/api/policy/rollback", { to, reason: why }, book.etag);
      return `${done.revision} is in force again; frozen: ${done.frozen.join(", ") || "nothing"}.`;
    },
  });
}

function roleField(roles, value = "") {
  const options = roles.map((role) => ({ value: role, text: role }));
  return { name: "role", label: "Role", required: true, value, options };
}

function freeze(book, roles) {
  const all = { value: "", text: "all roles" };
  return ask({
    title: "Freeze",
    words: ["The learner may not move what is frozen. Falling back to the declared table stays free."],
    fields: [
      { ...roleField(roles), required: false, options: [all, ...roleField(roles).options] }, reason,
      { name: "days", label: "Days", kind: "number", min: 0.01, max: 90, step: "any", hint: "Empty: until thawed." },
    ],
    submit: "Freeze",
    send: async ({ role, reason: why, days }) => {
      await change("POST", "/api/policy/freeze", { role, reason: why, days }, book.etag);
      return `${role ?? "Every role"} is frozen.`;
    },
  });
}

function pin(book, roles) {
  return ask({
    title: "Pin a role",
    words: ["The role gets one arm with probability 1, whatever a revision says, until the pin ends."],
    fields: [
      roleField(roles),
      { name: "arm", label: "Arm", required: true, hint: "A tier, or tier/accept, tier/step, tier/top." },
      { name: "days", label: "Days", kind: "number", required: true, value: 7, min: 0.01, max: 90, step: "any" },
      reason,
    ],
    submit: "Pin",
    send: async ({ role, arm, days, reason: why }) => {
      await change("POST", "/api/policy/pin", { role, arm, days, reason: why }, book.etag);
      return `${role} is pinned to ${arm}.`;
    },
  });
}

function release(book, row, action) {
  const name = row.role === "*" ? "all roles" : row.role;
  return ask({
    title: `${action === "unpin" ? "Unpin" : "Thaw"} ${name}?`,
    fields: [{ ...reason, required: false }], submit: action === "unpin" ? "Unpin" : "Thaw",
    send: async ({ reason: why }) => {
      await change("POST", `/api/policy/${action}`, { role: row.role, reason: why }, book.etag);
      return `${name}: ${action === "unpin" ? "no longer pinned" : "no longer frozen"}.`;
    },
  });
}

// The queue, and why there is nothing in it --------------------------------------------------

function waiting(queue) {
  return table({
    caption: "Review queue", id: "queue", rows: queue,
    empty: "Nothing waits for a person. Roles with learn = \"propose\", and frozen ones, hand their moves in here.",
    columns: [
      { head: "Revision", cell: (row) => review.link(row.id) },
      { head: "Status", cell: (row) => review.status(row) },
      { head: "From", cell: (row) => row.author },
      { head: "Because of", cell: (row) => row.trigger },
      { head: "Made", cell: (row) => say.when(row.created_ns) },
      { head: "Stale", cell: (row) => (row.stale ? badge("warn", row.stale) : "no") },
      { head: "Do", cell: (row) => h("a", { class: "button", href: `/policy?revision=${segment(row.id)}` }, "Review") },
    ],
  });
}

function learner({ roles, at_ns: at, trouble }) {
  return table({
    caption: "What the learner knows", id: "learning", rows: roles,
    empty: trouble ?? (at ? "The policy has no role." : "The learner has not looked yet; it does so within seconds."),
    columns: [
      { head: "Role", cell: (row) => (row.mode === null ? row.role : `${row.role} (${row.mode})`) },
      { head: "Learning", cell: (row) => row.learn },
      { head: "Declared", cell: (row) => h("code", {}, row.declared) },
      { head: "Standing", cell: (row) => row.idle ?? row.standing },
      { head: "Graded", numeric: true, cell: (row) => say.count(row.labels) },
      { head: "Quality, at least", numeric: true, cell: (row) => say.score(row.quality_lower) },
      { head: "Floor", numeric: true, cell: (row) => (row.floor === null ? "none" : say.score(row.floor)) },
      { head: "Per step now", numeric: true, cell: (row) => say.dollars(row.cost_usd_now) },
      { head: "Aimed at", numeric: true, cell: (row) => say.dollars(row.cost_usd_aim) },
      { head: "Held back by", cell: (row) => held(row) },
    ],
  });
}

/** What keeps the role from what is aimed at; one that does not learn aims at nothing. */
function held({ idle, blocked_by: blocks }) {
  if (idle !== undefined) return "it does not learn";
  return blocks.join(", ").replaceAll("_", " ") || "nothing";
}

// What was ------------------------------------------------------------------------------------

function history(book) {
  return h("section", {}, table({
    caption: "Revisions, newest first", id: "revisions", rows: book.revisions,
    empty: "There is no revision yet: the declared policy is in force.",
    columns: [
      { head: "Revision", cell: (row) => review.link(row.id) },
      { head: "Status", cell: (row) => review.status(row) },
      { head: "Parent", cell: (row) => (row.parent === "declared" ? "declared" : review.link(row.parent)) },
      { head: "Made", cell: (row) => say.when(row.created_ns) },
      { head: "By", cell: (row) => row.author },
      { head: "Because of", cell: (row) => row.trigger },
      { head: "Moved by", cell: (row) => row.status_by },
      { head: "Reason", wide: true, cell: (row) => row.reason ?? "none given" },
    ],
  }), book.next_before === null ? null
    : h("p", {}, h("a", { href: `/policy?before=${book.next_before}`, id: "older" }, "Older revisions")));
}

function deeds(log, after) {
  return h("section", {},
    table({
      caption: "Audit log, newest first", id: "audit", rows: log.rows, empty: "Nothing was changed yet.",
      columns: [
        { head: "Row", cell: (row) => row.sequence },
        { head: "Time", cell: (row) => say.when(row.at_ns) },
        { head: "Who", cell: (row) => row.actor },
        { head: "Did", cell: (row) => row.action },
        { head: "To", cell: (row) => row.subject },
        { head: "Reason", wide: true, cell: (row) => row.reason ?? "none given" },
      ],
    }),
    h("p", { class: "buttons" }, button("verify", "Verify the whole log", () => after(verified()))));
}

async function verified() {
  try {
    const found = await withKey(() => get("/api/audit-log/verify"));
    return found.whole ? `The log is whole: ${found.rows} rows, head ${found.head ?? "none"}.` : `The log is NOT whole: ${found.fault}`;
  } catch (error) {
    return `The log was not verified: ${error.message}`;
  }
}
