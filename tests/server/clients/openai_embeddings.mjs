// The official `openai` package of npm, installed in the directory that is the second argument.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [file, directory] = process.argv.slice(2);
const { OpenAI } = createRequire(`${directory}/package.json`)("openai");
const found = JSON.parse(readFileSync(file, "utf8"));
const client = new OpenAI({ baseURL: `${found.url}/v1`, apiKey: "unused" });
const request = { model: found.model, input: found.texts };

for (const more of [{}, { encoding_format: "float" }]) {
  const answer = await client.embeddings.create({ ...request, ...more });
  const rows = answer.data.map((one) => [...Float32Array.from(one.embedding)]);
  assert.deepEqual(rows, found.vectors);
  assert.equal(answer.usage.total_tokens, found.tokens);
}
const names = [];
for await (const one of await client.models.list()) names.push(one.id);
assert.deepEqual(names, found.models);
await assert.rejects(client.embeddings.create({ ...request, model: "other" }), OpenAI.NotFoundError);
await assert.rejects(client.embeddings.create({ ...request, input: [] }), OpenAI.BadRequestError);
