// One file in Node, made by `embedge convert BUNDLE model.onnx`: the tokenizer is in it.
//
//   npm install --ignore-scripts
//   node single_file.mjs model.onnx "a text" "another text"

import { pathToFileURL } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";

export async function load(file, { threads = 1 } = {}) {
  const session = await InferenceSession.create(file, { intraOpNumThreads: threads });

  // One vector for each text. Queries get the model's prompt: embed(queries, { query: true }).
  async function embed(texts, { query = false } = {}) {
    // A NUL would end its text on the way to ONNX Runtime. BERT's tokenizer deletes them.
    const whole = texts.map((text) => text.replaceAll("\0", ""));
    const { vectors } = await session.run({
      texts: new Tensor("string", whole, [texts.length]),
      is_query: new Tensor("bool", [query], [1]),
    });
    const width = vectors.dims[1];
    return texts.map((_, i) => vectors.data.subarray(i * width, (i + 1) * width));
  }
  return { embed };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [file, ...texts] = process.argv.slice(2);
  const { embed } = await load(file);
  for (const vector of await embed(texts)) console.log(JSON.stringify([...vector]));
}
