// Savings and drift: what routing saved or cost, shadow runs, and what is not as it was.

import { get } from "./api.js";
import { badge, facts, h, table } from "./dom.js";
import * as say from "./format.js";

export const title = "Savings and drift";

const DAY = 86400;
const WINDOWS = [[DAY, "1 day"], [7 * DAY, "7 days"], [30 * DAY, "30 days"]];
const WINDOW_DEFAULT = 7 * DAY;
const AGAINST = {
  frontier: "had every step gone to the top tier",
  declared: "had every step gone where policy.toml says",
};
const STATUS = { changed: "bad", noted: "warn", steady: "good", too_few: "idle" };

/** These answers are long to compute and change slowly: they are asked for once. */
export const live = () => false;

export async function load(query) {
  const asked = Number(query.get("window"));
  const seconds = WINDOWS.some(([each]) => each === asked) ? asked : WINDOW_DEFAULT;
  const since = { since_seconds: seconds };
  const [savings, shadow, drift] = await Promise.all([
    get("/api/savings", since), get("/api/shadow", since), get("/api/drift", since),
  ]);
  return { seconds, savings, shadow, drift };
}

export function render({ seconds, savings, shadow, drift }) {
  return [
    h("div", { class: "title" }, h("h1", {}, title), windows(seconds)),
    saved(savings), roles(savings), shadows(shadow), drifted(drift),
  ];
}

function windows(seconds) {
  return h("nav", { class: "windows", "aria-label": "Window of time" },
    WINDOWS.map(([each, name]) => h("a", { href: `/savings?window=${each}`, id: `window-${each}`,
      "aria-current": each === seconds ? "true" : null }, name)));
}

// Savings ------------------------------------------------------------------------------------

function saved(found) {
  const { coverage, overhead } = found;
  const against = Object.entries(found.against);
  return h("section", {}, h("h2", {}, "What routing saved"),
    against.length === 0
      ? h("p", {}, "Nothing can be compared without a policy: start the collector with --policy policy.toml.")
      : h("div", { class: "sides" }, against.map(([name, one]) => side(name, one))),
    facts([
      ["Spent", say.dollars(coverage.steps === 0 ? null : found.spent_usd)],
      ["Of it for judges", say.dollars(overhead.judging_usd)],
      ["Of it for shadow runs", say.dollars(overhead.shadow_usd)],
      ["Steps compared", h("span", {}, say.count(coverage.counted), " of ", say.count(coverage.steps), " (", say.percent(coverage.share), ")")],
      ["Cost or usage unknown", say.count(coverage.unknown)],
      ["Without a price to compare", say.count(coverage.unpriced_baseline)],
      ["Answered by code, not compared", coded(found.answered_by_code, coverage.code)],
      ["Tasks", h("span", {}, say.count(found.tasks.tasks), `, ${found.tasks.graded} graded, ${found.tasks.passed} passed`)],
    ]),
    h("details", { id: "assumptions" }, h("summary", {}, "What this takes for granted"),
      h("ul", {}, found.assumptions.map((one) => h("li", {}, one)))));
}

function coded(found, count) {
  if (!found || found.would_have_cost_usd === null) return say.count(count);
  return h("span", {}, say.count(count), "; shadow runs put ", say.count(found.measured_steps), " of them at ",
    say.dollars(found.would_have_cost_usd), ` on ${found.tier}`);
}

function side(name, one) {
  const known = one.steps > 0;
  const net = known ? one.saved_usd : null;
  return h("section", { class: "side", "aria-label": AGAINST[name] ?? name },
    h("h3", {}, `Than ${AGAINST[name] ?? name}${one.tier ? ` (${one.tier})` : ""}`),
    h("p", { class: "figure" }, say.or(net, (usd) => badge(usd < 0 ? "bad" : "good",
      usd < 0 ? `${say.dollarText(-usd)} more was spent` : `${say.dollarText(usd)} less was spent`)),
    one.saved_share === null || !known ? "" : ` ${say.percentText(Math.abs(one.saved_share))} of what it would have cost`),
    facts([
      ["It would have cost", say.dollars(known ? one.baseline_usd : null)],
      ["These steps cost", say.dollars(known ? one.actual_usd : null)],
      ["Overhead", say.dollars(one.overhead_usd)],
      ["With measured token ratios", say.change(one.corrected_saved_usd)],
      ["Cache lost by routing", say.dollars(one.lost_cache_usd)],
      ["Less per passed task", say.change(one.saved_per_passed_task_usd)],
    ]));
}

function roles(found) {
  const names = Object.keys(found.against);
  return table({
    caption: "By role, before overhead", id: "saved-roles", rows: found.roles,
    empty: "No step with a known cost was seen in this window.",
    columns: [
      { head: "Role", cell: (row) => say.roleName(row.role) },
      { head: "Steps", numeric: true, cell: (row) => say.count(row.steps) },
      { head: "Cost", numeric: true, cell: (row) => say.dollars(row.actual_usd) },
      ...names.map((name) => ({
        head: name === "frontier" ? "Less than the top tier" : "Less than declared",
        numeric: true,
        cell: (row) => h("span", {}, say.change(row[name].steps ? row[name].saved_usd : null),
          row[name].steps && row[name].saved_share !== null ? ` (${say.percentText(row[name].saved_share)})` : ""),
      })),
    ],
  });
}

function shadows(found) {
  return table({
    caption: "Shadow runs: the same steps on another tier", id: "shadow", rows: found.comparisons,
    empty: "No step was run again on another tier in this window. [roles.NAME] shadow in policy.toml turns it on.",
    columns: [
      { head: "Role", cell: (row) => row.role },
      { head: "Tiers", cell: (row) => `${row.tier} against ${row.shadow_tier}` },
      { head: "Pairs", numeric: true, cell: (row) => say.count(row.pairs) },
      { head: "Failed", numeric: true, cell: (row) => say.count(row.failed) },
      { head: "Pass rates differ by", numeric: true, cell: (row) => say.or(row.difference, (one) =>
        h("span", {}, say.signed(one.mean), " (", say.signed(one.low), " to ", say.signed(one.high), ")")) },
      { head: "Cost ratio", numeric: true, cell: (row) => say.score(row.cost_ratio) },
      { head: "Verdict", wide: true, cell: (row) => row.verdict },
    ],
  });
}

// Drift --------------------------------------------------------------------------------------

function drifted(report) {
  const rows = report.roles.flatMap((role) => role.findings.map((one) => ({ role: role.role, one })));
  const few = rows.filter(({ one }) => one.status === "too_few");
  const enough = rows.filter(({ one }) => one.status !== "too_few");
  return h("section", {}, h("h2", {}, "Drift"),
    h("p", {}, report.summary, " Compared with the same time before; nothing acts on it."),
    findings("What was found", "drift", enough),
    few.length === 0 ? null : h("details", { id: "few" },
      h("summary", {}, `${few.length} comparisons with too few samples to tell`), findings("Too few to tell", "few-samples", few)));
}

function findings(caption, id, rows) {
  return table({
    caption, id, rows, empty: "There is not enough traffic to compare yet.",
    columns: [
      { head: "Role", cell: ({ role }) => say.roleName(role) },
      { head: "Looked at", cell: ({ one }) => one.check.replaceAll("_", " ") },
      { head: "Found", cell: ({ one }) => badge(STATUS[one.status] ?? "idle", one.status.replaceAll("_", " ")) },
      { head: "In words", wide: true, cell: ({ one }) => one.sentence },
    ],
  });
}
