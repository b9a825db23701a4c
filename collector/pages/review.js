// One revision: what it changes, what it would have done, and what a person decides about it.

import { ApiError, change, get, segment } from "./api.js";
import { ask } from "./asking.js";
import { badge, button, facts, h, table } from "./dom.js";
import * as say from "./format.js";

const STATUS = { proposed: "warn", shadow: "warn", active: "good", rejected: "bad", "rolled back": "bad" };
const VERDICTS = { clears: "good", misses: "bad", inconclusive: "warn" };
const OPEN = ["proposed", "shadow"];
const FORMER = ["superseded", "rolled back"];

export async function load(name) {
  const revision = await get(`/api/policy/revisions/${segment(name)}`);
  const [difference, preview, book] = await Promise.all([
    get("/api/policy/diff", { before: revision.parent, after: revision.id }).catch(missing),
    get("/api/policy/preview", { revision: revision.id }).catch(missing),
    get("/api/policy/revisions", { limit: 1 }),
  ]);
  return { revision, difference, preview, etag: book.etag };
}

/** A parent that is no longer kept, or no policy: the rest of the page stands. */
function missing(error) {
  if (error instanceof ApiError && [404, 409].includes(error.status)) return { trouble: error.message };
  throw error;
}

export const link = (id) => h("a", { href: `/policy?revision=${segment(id)}` }, say.short(id, 16));

export const status = (row) => badge(STATUS[row.status] ?? "idle", row.status);

export function render(found, { after }) {
  const { revision } = found;
  return [
    h("div", { class: "title" }, h("h1", {}, "Revision ", h("code", {}, revision.id)),
      h("a", { href: "/policy" }, "All of the policy")),
    h("section", {}, h("h2", {}, "What it is"), facts(origin(revision)), actions(found, after)),
    impact(found.preview),
    difference(found.difference),
    evidence(revision),
  ];
}

function origin(row) {
  return [
    ["Status", status(row)],
    ["Moved there", h("span", {}, say.when(row.status_ns), ` by ${row.status_by}`)],
    ["Reason", row.reason ?? "none given"],
    ["Made", h("span", {}, say.when(row.created_ns), ` by ${row.author}`)],
    ["Because of", row.trigger],
    ["Parent", row.parent === "declared" ? "declared" : link(row.parent)],
    ["Made for the policy", say.short(row.policy_hash)],
    ["Stale", row.stale ? badge("warn", row.stale) : "no"],
    ...Object.entries(row.note).map(([name, value]) => [`Note: ${name}`, noted(value)]),
  ];
}

function noted(value) {
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(([name, inner]) => `${name}: ${noted(inner)}`).join("; ") || "none";
  }
  return String(value ?? "none");
}

// What a person decides ----------------------------------------------------------------------

function actions(found, after) {
  const { status: now, id } = found.revision;
  if (OPEN.includes(now)) {
    return h("p", { class: "buttons" },
      button("approve", "Approve", () => after(approve(found)), { class: "primary" }),
      button("reject", "Reject", () => after(reject(found))),
      now === "proposed" ? button("shadow", "Shadow", () => after(shadow(found))) : null);
  }
  if (!FORMER.includes(now)) return null;
  return h("p", { class: "buttons" }, button(`activate-${id}`, "Activate again", () => after(activate(found))));
}

function objections({ preview }) {
  const blocked = preview.blocked ?? [];
  const words = blocked.length ? [`The preview objects: ${blocked.join("; ")}`] : [];
  const override = {
    name: "override", label: "Why nevertheless", kind: "long", required: true,
    hint: "It stands in the audit log beside the objections.",
  };
  return { words, fields: blocked.length ? [override, rollout] : [rollout] };
}

const rollout = {
  name: "rollout", label: "Share of sessions", kind: "number", min: 0.01, max: 1, step: "any",
  hint: "0.1 gives it to a tenth of them; empty: what policy.toml says.",
};

const decided = (found) => ({ override: found.override ?? null, rollout: found.rollout });

function approve(found) {
  const { revision } = found;
  return ask({
    title: "Approve this revision?", ...objections(found), submit: "Approve",
    send: async (values) => {
      const path = `/api/policy/revisions/${segment(revision.id)}/approve`;
      await change("POST", path, decided(values), `"${revision.parent}"`);
      return `Revision ${revision.id} is in force.`;
    },
  });
}

function reject({ revision, etag }) {
  return ask({
    title: "Reject this revision?", danger: true, words: ["It leaves the queue for good."],
    fields: [{ name: "reason", label: "Reason", kind: "long", required: true }], submit: "Reject",
    send: async ({ reason }) => {
      await change("POST", `/api/policy/revisions/${segment(revision.id)}/reject`, { reason }, etag);
      return `Revision ${revision.id} is rejected.`;
    },
  });
}

function shadow({ revision, etag }) {
  return ask({
    title: "Make it a shadow?", words: ["It is compared with live decisions from now on, and never served."],
    fields: [{ name: "reason", label: "Reason", kind: "long" }], submit: "Shadow",
    send: async ({ reason }) => {
      await change("POST", `/api/policy/revisions/${segment(revision.id)}/shadow`, { reason }, etag);
      return `Revision ${revision.id} is a shadow.`;
    },
  });
}

function activate({ revision, etag }) {
  return ask({
    title: "Put this revision in force again?", words: ["It was served before and needs no preview."],
    fields: [rollout], submit: "Activate",
    send: async (values) => {
      await change("POST", "/api/policy/activate", { revision: revision.id, ...decided(values) }, etag);
      return `Revision ${revision.id} is in force.`;
    },
  });
}

// What it would have done --------------------------------------------------------------------

function impact(preview) {
  if (preview.trouble) {
    return h("section", { class: "empty" }, h("h2", {}, "What it would have done"), h("p", {}, preview.trouble));
  }
  return h("section", {}, h("h2", {}, "What it would have done"),
    preview.steps === 0 ? h("p", {}, "There is no recent decision to replay.") : h("p", {}, `The last ${say.countText(preview.steps)} decisions, replayed against what is in force (`,
      preview.base === "declared" ? "declared" : say.short(preview.base), `): `,
      `${say.percentText(preview.moves)} of steps move, and spend changes by `,
      interval(preview.usd_change, say.change), " of ", say.dollars(preview.usd_now), "."),
    preview.blocked.map((one) => h("p", {}, badge("bad", "objection"), ` ${one}`)),
    table({
      caption: "By role", id: "impact", rows: preview.roles, empty: "No recent decision to replay.",
      columns: [
        { head: "Role", cell: (row) => row.role },
        { head: "Verdict", cell: (row) => badge(VERDICTS[row.verdict] ?? "idle", row.verdict) },
        { head: "Why", wide: true, cell: (row) => row.why || "nothing moves" },
        { head: "Steps", numeric: true, cell: (row) => say.count(row.steps) },
        { head: "Move", numeric: true, cell: (row) => say.percent(row.steps === 0 ? null : row.moves) },
        { head: "Per step", numeric: true, cell: (row) => (row.verdict === "unchanged" ? "no change" : interval(row.usd_change, say.change)) },
        { head: "Margin over floor", numeric: true, cell: (row) =>
          (row.verdict === "unchanged" ? "no change" : row.floor === null ? "no floor" : interval(row.margin, say.signed)) },
        { head: "Graded", numeric: true, cell: (row) => say.count(row.graded) },
      ],
    }));
}

function interval(found, write) {
  if (!found) return say.unknown();
  return h("span", {}, write(found.value), h("span", { class: "note" }, " (", write(found.low), " to ", write(found.high), ")"));
}

// What it changes ----------------------------------------------------------------------------

function difference(found) {
  if (found.trouble) {
    return h("section", { class: "empty" }, h("h2", {}, "What it changes"), h("p", {}, found.trouble));
  }
  const rows = found.cells.flatMap((cell) => cell.arms.map((arm) => ({ cell, arm })));
  return h("section", {}, h("h2", {}, "What it changes, against its parent"),
    found.cells.map(summary),
    table({
      caption: "Arm by arm", id: "diff", rows, empty: "Nothing: both serve the same shares.",
      columns: [
        { head: "Cell", cell: ({ cell }) => h("code", {}, cell.cell) },
        { head: "Arm", cell: ({ arm }) => h("code", {}, arm.arm) },
        { head: "Before", numeric: true, cell: ({ arm }) => say.percent(arm.before) },
        { head: "After", numeric: true, cell: ({ arm }) => say.percent(arm.after) },
        { head: "Per step", numeric: true, cell: ({ arm }) => say.dollars(arm.usd_per_step) },
        { head: "Quality", numeric: true, cell: ({ arm }) => say.score(arm.quality) },
        { head: "Steps", numeric: true, cell: ({ arm }) => say.count(arm.steps) },
        { head: "Graded", numeric: true, cell: ({ arm }) => say.count(arm.graded) },
      ],
    }));
}

function summary(cell) {
  return h("p", {}, h("code", {}, cell.cell), ": ", say.change(cell.usd_change), " per step, quality ",
    say.signed(cell.quality_change),
    cell.quality_low === null ? "" : [" (", say.signed(cell.quality_low), " to ", say.signed(cell.quality_high), ")"], " ",
    cell.inconclusive ? badge("warn", `inconclusive: ${cell.graded} graded`) : null);
}

function evidence({ evidence: figures, shares }) {
  const rows = Object.keys(shares).sort();
  return table({
    caption: "All that it serves", id: "shares", rows, empty: "It holds no share: every role is served as declared.",
    columns: [
      { head: "Cell", cell: (cell) => h("code", {}, cell) },
      { head: "Shares", wide: true, cell: (cell) =>
        Object.entries(shares[cell]).map(([arm, share]) => `${arm} ${say.percentText(share)}`).join(" · ") },
      { head: "Evidence", wide: true, cell: (cell) =>
        Object.entries(figures[cell] ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${Number(value.toPrecision(4))}`).join(" · ")
          || h("span", { class: "note" }, "none: no figure speaks for it") },
    ],
  });
}
