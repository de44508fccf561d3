// Pairwise similarity of some texts, as a table that is a heat map.

import { embedAll } from "./api.js";
import { byId, debounced, decimal, element, plural, say } from "./dom.js";
import { MEASURES } from "./measures.js";

const MOST_TEXTS = 40;

let model = null;
let known = new Map();
let fingerprint = null; // of the vectors that are known
let underWay = null;

/** Compares the texts now, and again when they change. */
export function startSimilarity() {
  byId("similarity-texts").addEventListener("input", debounced(compare, 300));
}

/** Compares with another model; null for none. */
export function useModel(chosen) {
  model = chosen;
  known = new Map();
  fingerprint = null;
  byId("similarity").hidden = !model;
  byId("similarity-measure").textContent = model ? `, ${name(model.similarity)}` : "";
  if (model) compare();
}

async function compare() {
  underWay?.abort();
  const ours = (underWay = new AbortController());
  const all = byId("similarity-texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const texts = all.slice(0, MOST_TEXTS);
  say(byId("similarity-error"));
  try {
    await learn(texts, ours.signal);
    if (ours === underWay) show(texts, all.length);
  } catch (error) {
    if (ours === underWay) say(byId("similarity-error"), error.message);
  }
}

/** Embeds those of `texts` that were not embedded yet, and forgets all others. */
async function learn(texts, signal) {
  const missing = [...new Set(texts.filter((text) => !known.has(text)))];
  if (missing.length) {
    const idle = () => {};
    const found = await embedAll(missing, { model, prompt: "document", signal, onProgress: idle, onWait: idle });
    if (fingerprint && found.fingerprint !== fingerprint) {
      throw new Error("The server runs another model now. Load this page again.");
    }
    fingerprint = found.fingerprint;
    missing.forEach((text, index) => known.set(text, found.rows[index]));
  }
  known = new Map(texts.map((text) => [text, known.get(text)]));
}

function show(texts, all) {
  const enough = texts.length > 1;
  byId("similarity-table").hidden = byId("similarity-legend").hidden = !enough;
  if (!enough) {
    byId("similarity-summary").textContent = "Write at least two texts.";
    return;
  }
  const measure = MEASURES[model.similarity];
  const values = texts.map((a) => texts.map((b) => measure(known.get(a), known.get(b))));
  const pairs = values.flatMap((row, i) => row.slice(0, i).map((value, j) => ({ value, i: j, j: i })));
  pairs.sort((a, b) => b.value - a.value);
  const [most, least] = [pairs[0], pairs.at(-1)];
  const cut = all > texts.length ? `The first ${texts.length} of ${plural(all, "text")}. ` : "";
  byId("similarity-summary").textContent =
    pairs.length === 1 ? `${cut}${digits(most.value)}` : `${cut}Most alike: ${pair(most)}. Least alike: ${pair(least)}.`;
  byId("similarity-table").replaceChildren(table(texts, values, least.value, most.value));
  byId("legend-low").textContent = digits(least.value);
  byId("legend-high").textContent = digits(most.value);
}

function table(texts, values, low, high) {
  const heads = texts.map((text, index) => element("th", { scope: "col", title: text }, `${index + 1}`));
  const rows = texts.map((text, i) =>
    element(
      "tr", {},
      element("th", { scope: "row", title: text, dir: "auto" }, element("b", {}, `${i + 1}`), element("span", {}, text)),
      ...values[i].map((value, j) => cell(value, i === j, (value - low) / (high - low || 1), texts[i], texts[j])),
    ),
  );
  return element(
    "table", { class: "heat" },
    element("caption", { class: "unseen" }, `Similarity of each two texts, ${name(model.similarity)}`),
    element("thead", {}, element("tr", {}, element("td"), ...heads)),
    element("tbody", {}, ...rows),
  );
}

function cell(value, same, heat, a, b) {
  const node = element("td", { title: `${a}\n${b}` }, digits(value));
  if (same) node.classList.add("same");
  else node.style.setProperty("--heat-part", `${Math.round(100 * Math.min(1, Math.max(0, heat)))}%`);
  return node;
}

const pair = ({ value, i, j }) => `${i + 1} and ${j + 1}, ${digits(value)}`;
const digits = (value) => decimal(value, 2);
const name = (similarity) => ({ dot: "dot product", euclidean: "euclidean distance, negative", manhattan: "manhattan distance, negative" })[similarity] ?? similarity;
