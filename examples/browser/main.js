// The page: loads the bundle beside it, embeds the passages, and searches them while the reader types.

import { Embedder, similarity } from "./embedge.js";
import { keepProgram, programLoaded } from "./offline.js";

const SHOWN = 10;
const MOST_BYTES = 10_000_000;

const byId = (id) => document.getElementById(id);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const plural = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

let model = null;
let index = null; // {texts, vectors}
let underWay = null;
let asked = 0;

/** Shows `text` in an element, which is hidden while it has none. */
function say(id, text = "") {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

async function load() {
  const bar = byId("load-progress");
  const onProgress = (done, all) => {
    Object.assign(bar, { max: all, value: done });
    const shown = `Loading: ${megabytes(done)} of ${megabytes(all)}`;
    byId("load-status").textContent = done < all ? shown : "Preparing the model…";
  };
  try {
    const programKept = await keepProgram();
    model = await Embedder.load("bundle/", { onProgress });
    if (!programLoaded()) return;
    showFacts(programKept && model.kept);
    passagesChanged();
    const cosine = await model.verify();
    performance.mark("first vectors");
    const least = model.variant === "fp32" ? 0.999999 : 0.998;
    if (!(cosine >= least)) say("model-error", `This browser computes other vectors than are sealed (cosine ${cosine}).`);
  } catch (error) {
    say("model-error", error.message);
  }
  byId("loading").hidden = true;
}

function showFacts(offline) {
  const { manifest, variant, bytes, threads } = model;
  const facts = {
    Name: manifest.source.id.split("/").at(-1),
    Variant: variant,
    Dimensions: manifest.dimensions,
    "Longest text": plural(manifest.max_tokens, "token"),
    Size: megabytes(bytes),
    Threads: threads,
    "Without a network": offline ? "works from now on" : "does not work",
  };
  byId("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value))),
  );
  byId("facts").hidden = false;
  byId("loading").hidden = true;
}

function passages() {
  const lines = byId("passages").value.split("\n");
  return lines.map((text) => text.trim()).filter(Boolean);
}

function passagesChanged() {
  underWay?.abort();
  index = null;
  const found = passages().length;
  byId("embed").textContent = found ? `Embed ${plural(found, "passage")}` : "Embed";
  byId("embed").disabled = !found || !model;
  byId("embed-status").textContent = "";
  say("passages-error");
  search();
}

async function embedPassages() {
  const ours = (underWay = new AbortController());
  const texts = passages();
  const began = performance.now();
  const onProgress = (done) => {
    byId("embed-progress").value = done;
    byId("embed-status").textContent = `${done} of ${texts.length}`;
  };
  say("passages-error");
  Object.assign(byId("embed-progress"), { max: texts.length, value: 0 });
  showBusy(true);
  try {
    const vectors = await model.embed(texts, { onProgress, signal: ours.signal });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    byId("embed-status").textContent = `${plural(texts.length, "passage")} in ${seconds} s.`;
    index = { texts, vectors };
    search();
  } catch (error) {
    byId("embed-status").textContent = "";
    if (!ours.signal.aborted) say("passages-error", error.message);
  } finally {
    if (ours === underWay) showBusy(false);
  }
}

function showBusy(busy) {
  const focused = [byId("embed"), byId("cancel")].includes(document.activeElement);
  byId("embed-status").ariaBusy = busy; // screen readers say how it ended, not each step
  byId("embed").hidden = busy;
  byId("cancel").hidden = byId("embed-progress").hidden = !busy;
  if (focused) byId(busy ? "cancel" : "embed").focus();
}

async function search() {
  const ours = ++asked;
  const query = byId("query").value.trim();
  say("query-error");
  if (!index || !query) {
    byId("results").replaceChildren();
    byId("query-status").textContent = query ? "Embed the passages first." : "";
    return;
  }
  try {
    const began = performance.now();
    const vector = await model.embedQuery(query);
    if (ours !== asked) return; // the reader has typed on
    const { texts, vectors } = index;
    const found = vectors.map((row, number) => ({
      text: texts[number],
      score: similarity(vector, row, model.manifest.similarity),
    }));
    found.sort((a, b) => b.score - a.score);
    const shown = found.slice(0, SHOWN);
    const ms = (performance.now() - began).toFixed(0);
    byId("query-status").textContent = `The nearest ${shown.length} of ${plural(found.length, "passage")}, in ${ms} ms.`;
    byId("results").replaceChildren(...shown.map(showHit));
  } catch (error) {
    if (ours === asked) say("query-error", error.message);
  }
}

function showHit({ score, text }) {
  const value = element("data", "", score.toFixed(3).replace("-", "−"));
  value.value = score;
  const meter = element("i", "meter");
  meter.style.setProperty("--part", `${Math.round(100 * Math.min(1, Math.max(0, score)))}%`);
  const passage = element("p", "", text);
  passage.dir = "auto";
  return element("li", "", element("span", "score", value, meter), passage);
}

async function openFile({ target }) {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  if (file.size > MOST_BYTES) return say("passages-error", `${file.name} is larger than ${megabytes(MOST_BYTES)}.`);
  byId("passages").value = (await file.text()).replace(/\r\n?/g, "\n").replace(/\n{2,}/g, "\n").trim();
  passagesChanged();
}

let timer;
byId("query").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, 120);
});
byId("passages").addEventListener("input", passagesChanged);
byId("file").addEventListener("change", openFile);
byId("embed").addEventListener("click", embedPassages);
byId("cancel").addEventListener("click", () => underWay.abort());
load();
