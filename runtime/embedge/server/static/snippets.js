// Code for other programs, with this server's address and model.

import { BASE, storedKey } from "./api.js";
import { byId, element } from "./dom.js";

const QUESTION = "What runs at the edge?";
const BEARER = '-H "authorization: Bearer $EMBEDGE_API_KEY"';

/** Shows snippets for `model`, an embedder or null, and for the first reranker of `models`. */
export function showSnippets(model, models) {
  const reranker = models.find(({ task }) => task === "rerank");
  const snippets = [...(model ? embedding(model.name) : []), ...(reranker ? reranking(reranker.name) : [])];
  byId("snippets-list").replaceChildren(...snippets.map(block));
  byId("snippets").hidden = !snippets.length;
}

function embedding(model) {
  const key = Boolean(storedKey());
  const python = `${key ? "import os\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${quote(address("v1"))}, api_key=${key ? 'os.environ["EMBEDGE_API_KEY"]' : '"unused"'})
answer = client.embeddings.create(
    model=${quote(model)},
    input=[${quote(QUESTION)}],
)
print(answer.data[0].embedding)`;
  const javascript = `const response = await fetch(${quote(address("v1/embeddings"))}, {
  method: "POST",
  headers: {
    "content-type": "application/json",${key ? "\n    authorization: `Bearer ${process.env.EMBEDGE_API_KEY}`," : ""}
  },
  body: JSON.stringify({
    model: ${quote(model)},
    input: [${quote(QUESTION)}],
  }),
});
const { data } = await response.json();
console.log(data[0].embedding);`;
  const curl = post("v1/embeddings", [`"model": ${quote(model)}`, `"input": [${quote(QUESTION)}]`]);
  return [["curl", curl], ["Python", python], ["JavaScript", javascript]];
}

function reranking(model) {
  const documents = '"documents": ["Small models do.", "Ferries cross the harbour."]';
  const fields = [`"model": ${quote(model)}`, `"query": ${quote(QUESTION)}`, documents];
  return [["curl for reranking", post("v1/rerank", fields)]];
}

/** A call of curl with these fields as its body. */
function post(path, fields) {
  const body = `{${fields.join(",\n       ")}}`.replaceAll("'", "'\\''");
  const headers = ['-H "content-type: application/json"', ...(storedKey() ? [BEARER] : [])];
  return [`curl ${address(path)}`, ...headers, `-d '${body}'`].join(" \\\n  ");
}

const address = (path) => new URL(path, BASE).href;
const quote = (text) => JSON.stringify(text);

function block([name, code]) {
  const button = element("button", { type: "button", class: "quiet", "aria-label": `Copy the ${name} snippet` }, "Copy");
  const pre = element("pre", { tabindex: "0", role: "region", "aria-label": `${name} snippet` }, element("code", {}, code));
  const said = element("span", { class: "note", role: "status" });
  button.addEventListener("click", async () => {
    said.textContent = (await copy(code, pre)) ? "Copied" : "Selected: copy it by the keyboard";
    setTimeout(() => (said.textContent = ""), 3000);
  });
  return element("div", { class: "snippet" }, element("div", { class: "row" }, element("h3", {}, name), said, button), pre);
}

/** Copies `code`; where the browser does not allow that, as without TLS, selects it in `pre` and returns false. */
async function copy(code, pre) {
  try {
    await navigator.clipboard.writeText(code);
    return true;
  } catch {
    getSelection().selectAllChildren(pre);
    return document.execCommand("copy");
  }
}
