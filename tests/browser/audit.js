// What a page owes to people who do not see it, or not well. Returns the list of what is wrong.
(() => {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (one) => (one.getAttribute("aria-label") || one.innerText || one.textContent).trim();
  const say = (what, one) => wrong.push(`${what}: ${one.outerHTML.slice(0, 160)}`);

  if (document.documentElement.lang !== "en") wrong.push("no language");
  if (all("h1").length !== 1) wrong.push("not exactly one h1");
  if (all("main").length !== 1) wrong.push("not exactly one main");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1 && heading.tagName !== "H3") say("a heading skips a level", heading);
    level = own;
  }
  const ids = all("[id]").map((one) => one.id);
  if (new Set(ids).size < ids.length) wrong.push(`ids twice: ${ids.filter((id, at) => ids.indexOf(id) !== at)}`);
  for (const one of all("button, a, summary, nav, [role=region]")) if (!name(one)) say("no name", one);
  for (const one of all("input, select, textarea")) if (one.labels.length === 0) say("no label", one);
  for (const one of all("img")) if (!one.hasAttribute("alt")) say("no alternative", one);
  for (const one of all("svg")) {
    if (one.getAttribute("role") !== "img" || !one.getAttribute("aria-label")) say("an unnamed picture", one);
  }
  for (const one of all("table")) {
    if (!one.caption) say("no caption", one);
    if ([...one.querySelectorAll("th")].some((cell) => !cell.scope)) say("a heading without scope", one);
  }
  for (const one of all("[aria-describedby]")) {
    if (!document.getElementById(one.getAttribute("aria-describedby"))) say("described by nothing", one);
  }

  // Contrast, after WCAG 2: 4.5, and 3 for large text.
  const parse = (text) => {
    const found = text.match(/[\d.]+/g).map(Number);
    return { rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1 };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => {
      const x = part / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const back = parse(getComputedStyle(at).backgroundColor);
      if (back.alpha === 1) return back.rgb;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let least = 21;
  let texts = 0;
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(one) || one.closest(":disabled, noscript, script")) continue;
    const style = getComputedStyle(one);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [a, b] = [light(parse(style.color).rgb), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    texts += 1;
    least = Math.min(least, ratio);
    if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, one);
  }
  if (texts < 20) wrong.push(`only ${texts} texts were looked at`);
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
  return wrong;
})()
