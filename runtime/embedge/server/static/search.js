// Search while typing: one query's vector against those of all passages.

import { embed } from "./api.js";
import { byId, debounced, decimal, element, plural, say } from "./dom.js";
import { MEASURES } from "./measures.js";
import { startPassages, useModel as usePassagesModel } from "./passages.js";

const SHOWN = 10;

let index = null;
let underWay = null;

/** Watches the passages and the query. */
export function startSearch() {
  startPassages(useIndex);
  byId("query").addEventListener("input", debounced(search, 120));
}

/** Searches with another model; null for none. */
export function useModel(model) {
  byId("search").hidden = !model;
  usePassagesModel(model);
}

function useIndex(found) {
  index = found;
  byId("query").placeholder = index ? "What are you looking for?" : "Embed the passages, then type";
  search();
}

async function search() {
  underWay?.abort();
  const ours = (underWay = new AbortController());
  const query = byId("query").value.trim();
  say(byId("query-error"));
  if (!index || !query) {
    byId("results").replaceChildren();
    byId("query-status").textContent = query ? "Embed the passages first." : "";
    return;
  }
  try {
    const began = performance.now();
    const found = await embed([query], { model: index.model, prompt: "query", signal: ours.signal });
    if (ours !== underWay) return;
    if (found.fingerprint !== index.fingerprint) {
      throw new Error("The server runs another model now. Embed the passages again.");
    }
    const embedded = performance.now();
    show(best(found.rows[0]));
    const times = `${(embedded - began).toFixed(0)} ms for the query, ${(performance.now() - embedded).toFixed(0)} ms to compare`;
    const shown = Math.min(SHOWN, index.texts.length);
    byId("query-status").textContent = `The nearest ${shown} of ${plural(index.texts.length, "passage")}: ${times}.`;
  } catch (error) {
    if (ours !== underWay) return;
    byId("results").replaceChildren();
    byId("query-status").textContent = "";
    say(byId("query-error"), error.message);
  }
}

function best(vector) {
  const measure = MEASURES[index.model.similarity];
  const scored = index.rows.map((row, number) => ({ number, score: measure(vector, row) }));
  return scored.sort((a, b) => b.score - a.score).slice(0, SHOWN);
}

function show(hits) {
  const bounded = index.model.similarity === "cosine";
  byId("results").replaceChildren(
    ...hits.map(({ number, score }) => {
      const meter = element("i", { class: "meter", "aria-hidden": "true" });
      meter.style.setProperty("--part", `${Math.round(100 * Math.min(1, Math.max(0, score)))}%`);
      const value = element("data", { value: score }, decimal(score, 3));
      const text = element("p", { dir: "auto" }, index.texts[number]);
      return element("li", {}, element("span", { class: "score" }, value, ...(bounded ? [meter] : [])), text);
    }),
  );
}
