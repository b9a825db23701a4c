// Small pictures of shares and intervals. Each says in words what it shows, for those who do not
// see it; sizes are attributes, since the page allows no inline style.

import { h, svg } from "./dom.js";
import { or, percentText, unknown } from "./format.js";

const COLOURS = 6;

/** One bar of shares, [{name, share}], and the same in words below it. `order` fixes colours. */
export function shares(parts, order) {
  if (parts.length === 0) return unknown();
  const place = (part) => (order.includes(part.name) ? order.indexOf(part.name) : order.length);
  const ranked = [...parts].sort((a, b) => place(a) - place(b));
  const words = ranked.map((part) => `${part.name} ${percentText(part.share, 0)}`).join(" · ");
  let left = 0;
  const bars = ranked.map((part) => {
    const bar = svg("rect", {
      x: left * 100, y: 0, width: part.share * 100, height: 10, class: colour(part.name, order),
    });
    left += part.share;
    return bar;
  });
  const legend = ranked.map((part) =>
    h("li", {}, h("span", { class: `swatch ${colour(part.name, order)}`, "aria-hidden": "true" }),
      ` ${part.name} ${percentText(part.share, 0)}`));
  return h("div", { class: "shares" },
    svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": words },
      bars),
    h("ul", { class: "legend" }, legend));
}

function colour(name, order) {
  const at = order.indexOf(name);
  return `tier-${at < 0 ? COLOURS : at % COLOURS}`;
}

/** A quality in 0..1 with its interval and its floor: {mean, low, high, n} or null. */
export function quality(found, floor) {
  if (!found) return h("div", { class: "quality" }, unknown(), floorWords(floor));
  const words = `${found.mean.toFixed(3)} (${found.low.toFixed(3)} to ${found.high.toFixed(3)}, n ${found.n})`;
  const under = floor !== null && floor !== undefined;
  const verdict = !under ? null
    : found.low >= floor ? "above its floor"
      : found.high < floor ? "under its floor" : "may be under its floor";
  const kind = !under ? "plain" : found.low >= floor ? "good" : found.high < floor ? "bad" : "warn";
  const picture = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", class: "interval",
    role: "img", "aria-label": `quality ${words}${verdict ? `, ${verdict}` : ""}` },
    svg("rect", { x: 0, y: 5, width: 100, height: 2, class: "rail" }),
    svg("rect", { x: found.low * 100, y: 3, class: `span ${kind}`, height: 6,
      width: Math.max((found.high - found.low) * 100, 0.5) }),
    svg("rect", { x: found.mean * 100 - 0.6, y: 0, width: 1.2, height: 12, class: "mean" }),
    under ? svg("rect", { x: floor * 100 - 0.4, y: 0, width: 0.8, height: 12, class: "floor" }) : null);
  return h("div", { class: "quality" }, picture, h("span", {}, words), floorWords(floor, verdict));
}

function floorWords(floor, verdict = null) {
  if (floor === null) return null;
  return h("span", { class: "note" }, " ", "floor ", or(floor, String), verdict ? `: ${verdict}` : "");
}
