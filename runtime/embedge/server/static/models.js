// What is loaded, and on what it runs.

import { request } from "./api.js";
import { byId, count, element, plural, say } from "./dom.js";

const PROVIDERS = { CPUExecutionProvider: "CPU", CUDAExecutionProvider: "CUDA" };

/** Shows the models. Returns what the server says of itself, or null where it does not. */
export async function showModels() {
  say(byId("models-error"));
  try {
    const status = await (await request("page/status.json")).json();
    byId("version").textContent = status.version;
    byId("models-title").textContent = status.models.length > 1 ? "Models" : "Model";
    byId("models-list").replaceChildren(...status.models.map((model) => card(model, status)));
    return status;
  } catch (error) {
    say(byId("models-error"), error.message);
    return null;
  } finally {
    byId("models-wait").hidden = true;
  }
}

/** Lets the reader choose among several embedders, and calls `onModel` with the one to use; null where there is none. */
export function startPicker(models, onModel) {
  const embedders = models.filter((model) => model.task === "embed");
  const select = byId("model");
  const before = select.value;
  select.replaceChildren(...embedders.map(({ name }) => element("option", { value: name }, name)));
  if (embedders.some(({ name }) => name === before)) select.value = before;
  byId("picker").hidden = embedders.length < 2;
  const choose = () => onModel(embedders.find(({ name }) => name === select.value) ?? null);
  select.onchange = choose;
  choose();
}

function card(model, status) {
  const facts = [
    ["Variant", model.variant],
    ...(model.task === "embed" ? [["Dimensions", count(model.dimensions)], ["Similarity", model.similarity]] : []),
    ["Longest text", `${count(model.max_tokens)} tokens`],
    ...(model.task === "embed" ? [["Prompts", prompts(model.prompts), true]] : []),
    ["Fingerprint", element("code", {}, model.fingerprint), true],
    ["Runs on", `${model.providers.map((name) => PROVIDERS[name] ?? name).join(", ")}, ${plural(model.threads, "thread")}, ONNX Runtime ${status.onnxruntime}`, true],
    ["CPU", status.cpu.name, true],
    ["Instruction sets", status.cpu.features.join(", ") || "unknown", true],
  ];
  if (model.integer) facts.push(["Int8 products", model.kernels ?? kernels(status.cpu.exact_u8s8), true]);
  const task = model.task === "embed" ? "embeds texts" : "reranks texts";
  return element(
    "article", { class: "card" },
    element("h3", {}, model.name, " ", element("small", {}, task)),
    element("dl", {}, ...facts.map(([name, value, wide]) => element("div", { class: wide ? "wide" : "" }, element("dt", {}, name), element("dd", {}, value)))),
  );
}

function prompts(texts) {
  const known = Object.entries(texts).filter(([, text]) => text);
  return known.map(([name, text]) => `${name} “${text}”`).join(", ") || "none";
}

const kernels = (exact) => (exact ? "exact, weights as they are stored" : "exact, weights taken as unsigned");
