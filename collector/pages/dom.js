// Elements from values. Text becomes text nodes and nothing is ever parsed as HTML, so that names
// of roles and models, which come from anybody's spans, stay words.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element; attributes that are null, undefined or false are left out. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return a table that scrolls by itself, or on narrow screens becomes a list of cards.
 * `columns` are {head, cell, numeric, wide, name}; the first is the row's heading. */
export function table({ caption, columns, rows, empty, id, row: attributes }) {
  if (rows.length === 0) {
    return h("section", { class: "empty" }, h("h3", {}, caption), h("p", {}, empty));
  }
  const head = columns.map((column) =>
    h("th", { scope: "col", role: "columnheader", class: column.numeric ? "n" : null }, column.head),
  );
  const body = rows.map((row) =>
    h("tr", { role: "row", ...(attributes ? attributes(row) : {}) },
      columns.map((column, at) => cell(column, row, at === 0))),
  );
  return h("div", { class: "scroll", id, role: "region", "aria-label": caption, tabindex: "0" },
    h("table", { role: "table" }, h("caption", {}, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, body)));
}

function cell(column, row, first) {
  const kind = column.numeric ? "n" : column.wide ? "wide" : column.name ? "name" : null;
  const common = { class: kind, "data-label": column.head };
  if (first) return h("th", { scope: "row", role: "rowheader", ...common }, column.cell(row));
  return h("td", { role: "cell", ...common }, column.cell(row));
}

/** Return a list of terms; `pairs` are [term, value]. */
export function facts(pairs, kind = "facts") {
  return h("dl", { class: kind },
    pairs.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

/** Return a word with a sign, so that nothing is said by colour alone. */
export function badge(kind, text) {
  const signs = { good: "✓", bad: "✕", warn: "!", idle: "–" };
  return h("span", { class: `badge ${kind}` },
    h("span", { "aria-hidden": "true" }, signs[kind] ?? signs.idle), " ", text);
}

export function button(id, text, click, attributes = {}) {
  return h("button", { type: "button", id, click, ...attributes }, text);
}

/** Replace what `parent` holds, and keep the focus, what was opened and how far it scrolled. */
export function replace(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  const opened = [...parent.querySelectorAll("details[open][id]")].map((one) => one.id);
  const scrolled = [...parent.querySelectorAll(".scroll[id]")].map((one) => [one.id, one.scrollLeft]);
  parent.replaceChildren(...children);
  for (const id of opened) {
    const found = document.getElementById(id);
    if (found) found.open = true;
  }
  for (const [id, left] of scrolled) {
    const found = document.getElementById(id);
    if (found) found.scrollLeft = left;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}
