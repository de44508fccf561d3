// Where the passages to search come from: pasted, or a file; and their vectors.

import { embedAll } from "./api.js";
import { longestColumn, parseCsv } from "./csv.js";
import { byId, count, element, plural, say } from "./dom.js";

const MOST_BYTES = 50_000_000;
const MOST_PASSAGES = 50_000;
// The first two bytes of files in UTF-16.
const MARKS = { "255,254": "utf-16le", "254,255": "utf-16be" };

let model = null;
let file = null; // {name, text} or {name, rows}
let underWay = null;
let onIndex = () => {};

/** Watches what the reader pastes, drops and chooses; calls `use` with an index when passages were embedded, or null. */
export function startPassages(use) {
  onIndex = use;
  byId("passages").addEventListener("input", () => changed({ pasted: true }));
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = "";
  });
  byId("file-remove").addEventListener("click", () => {
    file = null;
    changed({ pasted: true });
    byId("passages").focus();
  });
  for (const id of ["split", "column", "header"]) byId(id).addEventListener("change", () => changed());
  byId("embed").addEventListener("click", embedPassages);
  byId("cancel").addEventListener("click", () => underWay?.abort());
  startDrop(byId("drop"));
  changed({ pasted: true });
}

/** Embeds with another model from now on. */
export function useModel(chosen) {
  model = chosen;
  changed();
}

function startDrop(place) {
  const mark = (over) => (event) => {
    event.preventDefault();
    place.classList.toggle("over", over);
  };
  place.addEventListener("dragover", mark(true));
  place.addEventListener("dragleave", mark(false));
  place.addEventListener("drop", (event) => {
    mark(false)(event);
    const [dropped] = event.dataTransfer.files;
    if (dropped) open(dropped);
    const text = event.dataTransfer.getData("text/plain");
    if (!dropped && text && !file) {
      byId("passages").value = text;
      changed({ pasted: true });
    }
  });
}

async function open(opened) {
  try {
    if (!/\.(txt|csv|tsv|md)$/i.test(opened.name)) throw new Error("neither .txt nor .csv");
    if (opened.size > MOST_BYTES) throw new Error(`larger than ${MOST_BYTES / 1e6} MB`);
    const text = read(await opened.arrayBuffer());
    if (/\.(csv|tsv)$/i.test(opened.name)) {
      const rows = parseCsv(text);
      if (!rows.length) throw new Error("it has no rows");
      file = { name: opened.name, rows };
      showColumns(rows);
      changed();
    } else {
      file = { name: opened.name, text };
      changed({ pasted: true });
    }
  } catch (error) {
    say(byId("passages-error"), `${opened.name}: ${error.message}.`);
  }
}

/** A file's text: UTF-8, or what spreadsheets on Windows write. */
function read(bytes) {
  const marked = MARKS[new Uint8Array(bytes.slice(0, 2)).join()];
  if (marked) return new TextDecoder(marked).decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function showColumns(rows) {
  const width = Math.max(...rows.slice(0, 1000).map((row) => row.length));
  const options = Array.from({ length: width }, (_, index) =>
    element("option", { value: index }, rows[0][index]?.trim().slice(0, 40) || `column ${index + 1}`),
  );
  byId("column").replaceChildren(...options);
  byId("column").value = longestColumn(rows.slice(1).length ? rows.slice(1) : rows);
}

/** Shows what would be embedded. With `pasted` the text is new, and how to split it is guessed. */
function changed({ pasted = false } = {}) {
  underWay?.abort();
  onIndex(null);
  const table = Boolean(file?.rows);
  if (pasted && !table) byId("split").value = /\n\s*\n/.test(source().trim()) ? "paragraphs" : "lines";
  byId("paste").hidden = Boolean(file);
  byId("file-remove").hidden = !file;
  byId("split-choice").hidden = table;
  byId("column-choice").hidden = byId("header-choice").hidden = !table;
  byId("embed").classList.add("main");
  say(byId("file-name"), file?.name);
  say(byId("passages-error"));
  const found = passages().length;
  byId("embed").textContent = found ? `Embed ${plural(Math.min(found, MOST_PASSAGES), "passage")}` : "Embed";
  byId("embed").disabled = !found || !model;
  const cut = `${plural(found, "passage")}; only the first ${count(MOST_PASSAGES)} are embedded.`;
  byId("embed-status").textContent = found > MOST_PASSAGES ? cut : "";
}

const source = () => (file?.text ?? byId("passages").value).replace(/\r\n?/g, "\n");

function passages() {
  const pieces = file?.rows
    ? file.rows.slice(byId("header").checked ? 1 : 0).map((row) => row[byId("column").value] ?? "")
    : source().split(byId("split").value === "lines" ? "\n" : /\n\s*\n/);
  return pieces.map((text) => text.trim()).filter(Boolean);
}

async function embedPassages() {
  underWay?.abort();
  const ours = (underWay = new AbortController());
  const texts = passages().slice(0, MOST_PASSAGES);
  const began = performance.now();
  const status = byId("embed-status");
  const onProgress = (done) => {
    byId("progress").value = done;
    const rate = Math.round(done / ((performance.now() - began) / 1000));
    status.textContent = `${count(done)} of ${count(texts.length)}, ${count(rate)} a second`;
  };
  const onWait = (seconds) => (status.textContent = `The server is busy; trying again in ${seconds} s.`);
  onIndex(null);
  say(byId("passages-error"));
  Object.assign(byId("progress"), { max: texts.length, value: 0 });
  busy(true);
  try {
    const found = await embedAll(texts, { model, prompt: "document", signal: ours.signal, onProgress, onWait });
    if (ours !== underWay) return;
    status.textContent = summary(texts, found, (performance.now() - began) / 1000);
    byId("embed").classList.remove("main"); // the next thing to do is to ask
    onIndex({ texts, model, ...found });
  } catch (error) {
    if (ours !== underWay) return;
    status.textContent = ours.signal.aborted ? "Cancelled." : "";
    if (!ours.signal.aborted) say(byId("passages-error"), error.message);
  } finally {
    if (ours === underWay) busy(false);
  }
}

function busy(running) {
  const button = byId(running ? "cancel" : "embed");
  const focused = [byId("cancel"), byId("embed")].includes(document.activeElement);
  byId("embed").hidden = running;
  byId("cancel").hidden = byId("progress").hidden = !running;
  if (focused) button.focus();
}

function summary(texts, { truncated }, seconds) {
  const kilobytes = (texts.length * model.dimensions * 4) / 1000;
  const memory = kilobytes < 1000 ? `${Math.ceil(kilobytes)} kB` : `${(kilobytes / 1000).toFixed(1)} MB`;
  const side = model.truncation_side === "left" ? "end" : "beginning";
  const cut = `; of ${plural(truncated, "long one")} only the ${side} (${count(model.max_tokens)} tokens)`;
  return (
    `${plural(texts.length, "passage")} in ${seconds.toFixed(seconds < 10 ? 1 : 0)} s, ` +
    `${memory} of vectors${truncated ? cut : ""}.`
  );
}
