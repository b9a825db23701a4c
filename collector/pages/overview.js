// Overview: what every role costs, how good it is, which tiers answer it, and who watches it.

import { ApiError, get, segment } from "./api.js";
import * as charts from "./charts.js";
import { badge, facts, h, table } from "./dom.js";
import * as say from "./format.js";

export const title = "Overview";

const WINDOWS = [[3600, "1 hour"], [86400, "1 day"], [604800, "7 days"], [2592000, "30 days"]];
const WINDOW_DEFAULT = 86400;

/** Return the scoreboard, with whatever else this key opens. */
export async function load(query) {
  const seconds = chosen(query);
  const board = await get("/api/roles", { window_seconds: seconds });
  const [learning, armed, policy, alerts] = await Promise.all([
    readable("/api/learning"),
    readable("/api/alerts/armed"),
    readable("/api/policy/revisions", { limit: 1 }),
    readable("/api/alerts"),
  ]);
  const learned = policy && policy.active !== "declared";
  const active = learned ? await readable(`/api/policy/revisions/${segment(policy.active)}`) : null;
  return { seconds, board, learning, armed, policy, alerts, active };
}

function chosen(query) {
  const asked = Number(query.get("window"));
  return WINDOWS.some(([seconds]) => seconds === asked) ? asked : WINDOW_DEFAULT;
}

/** Return an answer, or null where the key opens sums only. */
async function readable(path, query = {}) {
  try {
    return await get(path, query);
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return null;
    throw error;
  }
}

export function render(found) {
  const { board } = found;
  return [
    h("div", { class: "title" }, h("h1", {}, title), windows(found.seconds)),
    notices(found),
    totals(found),
    board.calls === 0 && board.roles.length === 0 ? nothing() : roles(found),
    board.biased_spans > 0
      ? h("p", { class: "note" }, `${board.biased_spans} spans were kept by a sampler for what became of them: `
        + "rates may be bent. Sample after the collector, not before it.")
      : null,
  ].filter((part) => part !== null);
}

function windows(seconds) {
  return h("nav", { class: "windows", "aria-label": "Window of time" },
    WINDOWS.map(([each, name]) =>
      h("a", { href: `/?window=${each}`, id: `window-${each}`, "aria-current": each === seconds ? "true" : null }, name)));
}

function notices({ alerts, armed }) {
  const firing = (alerts?.alerts ?? []).filter((one) =>
    one.name !== "Watchdog" && ["firing", "keep_firing"].includes(one.state));
  const unsafe = armed?.unsafe_roles ?? [];
  if (firing.length === 0 && unsafe.length === 0) return null;
  return h("ul", { class: "notices" },
    firing.map((one) => h("li", {}, badge("bad", "firing"), " ",
      h("a", { href: "/alerts" }, one.name), one.role === null ? "" : ` for ${one.role}`,
      one.annotations.summary ? `: ${one.annotations.summary}` : "")),
    unsafe.map((role) => h("li", {}, badge("warn", "fallen back"), ` ${role} serves its declared table`)));
}

function totals({ board, policy }) {
  const { coverage } = board;
  return h("section", { "aria-label": "Totals" },
    facts([
      ["Spend", spend(board.spend_usd, coverage.price)],
      ["Model calls", say.count(board.calls)],
      ["Price known", say.percent(coverage.price)],
      ["Tokens known", say.percent(coverage.tokens)],
      ["Role known, of spend", say.percent(board.role_coverage)],
      ["Graded, of spend", say.percent(coverage.quality)],
      ["In force", policy === null ? say.unknown() : h("a", { href: "/policy" }, short(policy.active))],
    ], "facts tiles"),
    board.sampled ? h("p", { class: "note" }, "Some calls stand for more than themselves: they were sampled.") : null);
}

const short = (name) => (name === "declared" ? "declared" : say.short(name));

function nothing() {
  return h("section", { class: "empty" }, h("h2", {}, "Nothing was seen in this window"),
    h("p", {}, "Send steps through the gateway, or point an OpenTelemetry exporter at port 4318 of this "
      + "machine; try a longer window too. scripts/demo shows it with made-up traffic."));
}

function roles(found) {
  const ladder = order(found);
  const columns = [
    { head: "Role", cell: (row) => name(row.role) },
    { head: "Learning", cell: (row) => mode(row.role, found) },
    { head: "Revision", cell: (row) => revision(row.role, found) },
    { head: "Tiers", wide: true, cell: (row) => charts.shares(
      row.tiers.map((one) => ({ name: one.tier ?? "no tier", share: one.mix })), ladder) },
    { head: "Quality and floor", wide: true, cell: (row) => charts.quality(row.quality, floor(row.role, found)) },
    { head: "Per task", numeric: true, cell: (row) => say.dollars(row.cost_per_task_usd) },
    { head: "Per passed task", numeric: true, cell: (row) => say.dollars(row.cost_per_passed_task_usd) },
    { head: "Escalated", numeric: true, cell: (row) => say.percent(row.escalation_rate) },
    { head: "Handed on by code", numeric: true, cell: (row) => say.percent(row.abstention_rate) },
    { head: "Spend", numeric: true, cell: (row) => spend(row.spend_usd, row.calls === 0 ? 0 : row.coverage.price) },
    { head: "Alerts armed", cell: (row) => lamps(row.role, found.armed) },
  ];
  return table({ caption: "Roles, dearest first", id: "roles", columns, rows: found.board.roles, empty: "" });
}

/** Tiers as the ladder has them, by the arms that the learner lists, then all others by name. */
function order({ board, learning }) {
  const arms = (learning?.roles ?? []).flatMap((role) => role.arms ?? []);
  const seen = board.roles.flatMap((role) => role.tiers.map((one) => one.tier));
  return [...new Set([...arms.map((arm) => arm.arm.split("/")[0]), ...seen.sort()])].filter((tier) => tier !== null);
}

function name(role) {
  if (role === null) return say.roleName(role);
  return h("a", { href: `/decisions?role=${segment(role)}` }, role);
}

/** Dollars of the calls whose price is known, a share of all; none of them known is no zero. */
function spend(usd, priced) {
  if (priced === 0) return say.unknown();
  return h("span", {}, priced !== null && priced < 1 ? "at least " : "", say.dollars(usd));
}

function entry(role, learning) {
  const own = (learning?.roles ?? []).filter((one) => one.role === role);
  return own.find((one) => one.mode === null) ?? own[0];
}

function floor(role, { learning }) {
  const own = entry(role, learning);
  return own === undefined ? (learning?.at_ns ? null : undefined) : own.floor;
}

function mode(role, { learning, policy }) {
  const own = entry(role, learning);
  const holds = (policy?.holds ?? []).filter((one) => one.role === role || one.role === "*");
  const words = own ? own.learn : learning?.at_ns ? "not in the policy" : say.unknown();
  return h("span", {}, words, holds.map((one) => [" ",
    badge("warn", one.kind === "pin" ? `pinned to ${one.arm}` : "frozen")]));
}

function revision(role, { policy, active }) {
  if (policy === null || role === null) return say.unknown();
  if (policy.active === "declared") return "declared";
  if (active === null) return say.unknown();
  const moved = Object.keys(active.shares).some((cell) => cell.split("|")[0] === role);
  return moved ? h("a", { href: "/policy" }, say.short(active.id)) : "declared";
}

function lamps(role, armed) {
  if (armed === null) return say.unknown();
  const own = armed.sides.filter((side) => side.role === role);
  if (own.length === 0) return h("span", { class: "note" }, "does not learn");
  return h("span", { class: "lamps" }, own.map((side) => {
    const what = side.alert === "CostHigh" ? "cost" : "quality";
    const missing = side.conditions.filter((one) => !one.holds).map((one) => one.name).join(", ");
    return [h("span", { title: missing ? `missing: ${missing}` : null },
      badge(side.armed ? "good" : "bad", `${what}: ${side.armed ? "yes" : "no"}`)), " "];
  }));
}
