// A bundle in Node: the same files that Python runs, and the same vectors.
//
//   npm install --ignore-scripts
//   node embed.mjs path/to/bundle "a text" "another text"

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import { InferenceSession, Tensor } from "onnxruntime-node";

export async function load(bundle, { threads = 1 } = {}) {
  const manifest = JSON.parse(readFileSync(join(bundle, "manifest.json"), "utf8"));
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(join(bundle, "tokenizer.json"), "utf8")), {});
  const { variant, graph } = choose(manifest);
  const weights = readFileSync(join(bundle, variant.weights));
  if (graph.unsigned) {
    for (const { offset, shape } of Object.values(variant.codes)) {
      const end = offset + shape[0] * shape[1];
      for (let i = offset; i < end; i++) weights[i] ^= 128;
    }
  }
  const session = await InferenceSession.create(join(bundle, graph.file), {
    externalData: [{ path: variant.weights, data: weights }],
    graphOptimizationLevel: "disabled", // it is written for the kernels that are fast, as it is
    intraOpNumThreads: threads,
  });

  // One vector for each text. Queries get the model's prompt: embed(queries, manifest.prompts.query).
  async function embed(texts, prompt = manifest.prompts.document ?? "") {
    const vectors = [];
    for (const text of texts) {
      const ids = truncate(tokenizer.encode(prompt + text).ids, manifest);
      const input = new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
      const { embedding } = await session.run({ input_ids: input });
      vectors.push(embedding.data);
    }
    return vectors;
  }
  return { manifest, embed };
}

// The first graph that needs nothing of the CPU and nothing beside ONNX Runtime, and takes texts without padding.
function choose(manifest) {
  for (const variant of Object.values(manifest.variants)) {
    const graph = variant.graphs.find((graph) => graph.execution === "ragged" && graph.needs.length === 0);
    if (graph) return { variant, graph };
  }
  throw new Error(`no variant of ${manifest.source.id} runs on a CPU: export it with --precision int8`);
}

function truncate(ids, { max_tokens: most, tokenizer: { before, after, truncation_side: side } }) {
  if (ids.length <= most) return ids;
  if (side === "right") return [...ids.slice(0, most - after.length), ...after];
  return [...before, ...ids.slice(ids.length - most + before.length)];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [bundle, ...texts] = process.argv.slice(2);
  const { embed } = await load(bundle);
  for (const vector of await embed(texts)) console.log(JSON.stringify([...vector]));
}
