// Values in words. What nobody knows is "unknown", never 0; what cannot be is "none".

import { h } from "./dom.js";

const PLAIN = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const DATE = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

export function unknown() {
  return h("span", { class: "unknown" }, "unknown");
}

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** Return `write(value)`, or the word unknown. */
export function or(value, write) {
  return known(value) ? write(value) : unknown();
}

export const text = (value) => or(value, String);
export const countText = (value) => PLAIN.format(value);
export const count = (value) => or(value, countText);
export const percent = (value, digits = 1) => or(value, (n) => percentText(n, digits));
export const score = (value) => or(value, (n) => n.toFixed(3));

export function percentText(value, digits = 1) {
  return `${(value * 100).toFixed(digits)} %`;
}

/** Dollars with four significant figures, and two decimals from a dollar on. */
export function dollarText(value) {
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 1) {
    return `${sign}$${size.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  }
  return `${sign}$${Number(size.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 })}`;
}

export const dollars = (value) => or(value, dollarText);

/** Dollars more or less, with their sign. */
export const change = (value) => or(value, (n) => (n > 0 ? `+${dollarText(n)}` : dollarText(n)));

export function signed(value, digits = 3) {
  return or(value, (n) => `${n > 0 ? "+" : n < 0 ? "−" : ""}${Math.abs(n).toFixed(digits)}`);
}

export function seconds(value) {
  return or(value, (n) => (n < 1 ? `${Math.round(n * 1000)} ms` : `${n.toFixed(2)} s`));
}

/** A moment in the reader's zone; the title holds UTC. */
export function when(ns) {
  return or(ns === 0 ? null : ns, (at) => {
    const moment = new Date(at / 1e6);
    const utc = moment.toISOString();
    return h("time", { datetime: utc, title: utc }, DATE.format(moment));
  });
}

/** How long ago, roughly. */
export function age(ns, nowMs) {
  const past = Math.max(0, nowMs - ns / 1e6) / 1000;
  if (past < 90) return `${Math.round(past)} s ago`;
  if (past < 5400) return `${Math.round(past / 60)} min ago`;
  if (past < 129600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}

/** A role's name; calls that nobody can be named for have none. */
export function roleName(role) {
  return role === null || role === undefined ? h("em", {}, "no role named") : role;
}

/** The first signs of a long id, with the whole in the title. */
export function short(id, length = 12) {
  return or(id, (whole) =>
    h("code", { title: whole }, whole.length > length ? `${whole.slice(0, length)}…` : whole));
}
