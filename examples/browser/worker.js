// What embedge.js has done in a worker: the bundle is loaded, texts become tokens, and tokens vectors.

import { Bundle, choose } from "./bundle.js";
import { BundleTokenizer } from "./tokenizer.js";
import * as ort from "./vendor/ort.wasm.min.mjs";
import { Tokenizer } from "./vendor/tokenizers.min.mjs";

// Texts of equal length run together until a run has so many tokens, as in the library.
const TOKENS_PER_RUN = 128;
const MOST_THREADS = 4;
const CHARACTERS_AT_ONCE = 100_000; // a tenth of a second

const METHODS = { load, embed };
const stopped = new Set();

let tokenizer = null;
let session = null;
let running = Promise.resolve();

addEventListener("message", async ({ data: { id, method, ...values } }) => {
  if (method === "stop") return stopped.add(id);
  try {
    postMessage({ id, result: await METHODS[method](id, values) });
  } catch (error) {
    // WebAssembly throws numbers, too, as where memory is short.
    const { name, message } = error instanceof Error ? error : { name: "Error", message: `the model failed: ${error}` };
    postMessage({ id, error: { name, message } });
  } finally {
    stopped.delete(id);
  }
});

async function load(id, { url, threads }) {
  const bundle = await Bundle.open(new URL(url));
  const { manifest } = bundle;
  const { variant, graph, weights } = choose(manifest);
  const names = ["tokenizer.json", graph, weights];
  const all = names.reduce((total, name) => total + (manifest.files[name]?.bytes ?? 0), 0);
  let come = 0;
  const read = (name) => bundle.read(name, (bytes) => postMessage({ id, progress: [(come += bytes), all] }));
  const [definition, model, data] = await Promise.all(names.map(read));
  tokenizer = new BundleTokenizer(Tokenizer, JSON.parse(new TextDecoder().decode(definition)), manifest);
  const most = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1; // threads share memory
  ort.env.wasm.numThreads = Math.min(threads ?? MOST_THREADS, most);
  session = await ort.InferenceSession.create(model, {
    executionProviders: ["wasm"],
    externalData: [{ path: weights, data }],
  });
  const kept = await bundle.finish(names);
  return { manifest, variant, kept, bytes: all, threads: ort.env.wasm.numThreads };
}

async function embed(id, { texts }) {
  const encoded = [];
  let read = 0;
  for (const text of texts) {
    if (read > CHARACTERS_AT_ONCE) {
      if (await stoppedMeanwhile(id)) return null;
      read = 0;
    }
    encoded.push(tokenizer.encode(text));
    read += text.length;
  }
  const vectors = new Array(texts.length);
  let done = 0;
  for (const group of groups(encoded.map(({ ids }) => ids.length))) {
    if (done && (await stoppedMeanwhile(id))) return null;
    const rows = await run(group.map((index) => encoded[index].ids));
    group.forEach((index, row) => (vectors[index] = rows[row]));
    postMessage({ id, progress: [(done += group.length)] });
  }
  const cut = encoded.filter(({ truncated }) => truncated).length;
  if (cut) {
    const warning = `${cut} of ${texts.length} texts had more than ${tokenizer.maxTokens} tokens, and were cut`;
    postMessage({ id, warning });
  }
  return vectors;
}

/** Lets the worker hear of other calls, which take turns with this one, and of its end. */
async function stoppedMeanwhile(id) {
  await new Promise((resolve) => setTimeout(resolve));
  return stopped.has(id);
}

/** Vectors of texts of one length, after those that are under way. */
function run(texts) {
  const length = texts[0].length;
  const ids = new ort.Tensor("int64", BigInt64Array.from(texts.flat(), BigInt), [texts.length, length]);
  const result = running.then(async () => {
    const { embedding } = await session.run({ input_ids: ids });
    const width = embedding.dims[1];
    return texts.map((_, row) => embedding.data.slice(row * width, (row + 1) * width));
  });
  running = result.catch(() => {});
  return result;
}

/** Indices of texts that run together, the longest first. */
function groups(lengths) {
  const byLength = new Map();
  for (const [index, length] of lengths.entries()) {
    if (!byLength.has(length)) byLength.set(length, []);
    byLength.get(length).push(index);
  }
  return [...byLength]
    .sort(([a], [b]) => b - a)
    .flatMap(([length, indices]) => {
      const size = Math.max(1, Math.floor(TOKENS_PER_RUN / length));
      const count = Math.ceil(indices.length / size);
      return Array.from({ length: count }, (_, part) => indices.slice(part * size, (part + 1) * size));
    });
}
