// Elements without markup in strings: no text is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element with attributes and children: elements or texts. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** As `element`, for pictures. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Shows `text` in an element, which is hidden while it has none. */
export function say(node, text = "") {
  node.textContent = text;
  node.hidden = !text;
}

/** Runs `work` when it was not asked for again for `ms`; returns the function to ask with. */
export function debounced(work, ms) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
}

/** A number with separators of thousands. */
export const count = (number) => number.toLocaleString("en");

/** A score with so many `digits` behind its point, and a true minus sign, but none in front of zero. */
export function decimal(score, digits) {
  const text = score.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** `number` of a thing in words: "1 text", "2 texts". */
export const plural = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
