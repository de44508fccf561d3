// Code for other programs, with this server's address and model.

import { BASE, storedKey } from "./api.js";
import { byId, element } from "./dom.js";

/** Shows snippets for `model`, an embedder or null, and for the first reranker of `models`. */
export function showSnippets(model, models) {
  const reranker = models.find(({ task }) => task === "rerank");
  const address = BASE.href.replace(/\/$/, "");
  const snippets = [...(model ? embedding(address, model.name) : []), ...(reranker ? reranking(address, reranker.name) : [])];
  byId("snippets-list").replaceChildren(...snippets.map(block));
}

function embedding(address, model) {
  const key = storedKey() ? { shell: ' \\\n  -H "authorization: Bearer $EMBEDGE_API_KEY"', python: 'os.environ["EMBEDGE_API_KEY"]' } : null;
  return [
    ["curl", `curl ${address}/v1/embeddings \\\n  -H "content-type: application/json"${key?.shell ?? ""} \\\n  -d '{"model": "${model}",
       "input": ["What runs at the edge?"]}'`],
    [
      "Python",
      `${key ? "import os\n" : ""}from openai import OpenAI

client = OpenAI(base_url="${address}/v1", api_key=${key?.python ?? '"unused"'})
answer = client.embeddings.create(
    model="${model}",
    input=["What runs at the edge?"],
)
print(answer.data[0].embedding)`,
    ],
    [
      "JavaScript",
      `const response = await fetch("${address}/v1/embeddings", {
  method: "POST",
  headers: { "content-type": "application/json"${key ? ", authorization: `Bearer ${process.env.EMBEDGE_API_KEY}`" : ""} },
  body: JSON.stringify({
    model: "${model}",
    input: ["What runs at the edge?"],
  }),
});
const { data } = await response.json();
console.log(data[0].embedding);`,
    ],
  ];
}

function reranking(address, model) {
  const header = storedKey() ? ' \\\n  -H "authorization: Bearer $EMBEDGE_API_KEY"' : "";
  const body = `{"model": "${model}",
       "query": "What runs at the edge?",
       "documents": ["Small models do.", "Ferries cross the harbour."]}`;
  return [["curl, reranking", `curl ${address}/v1/rerank \\\n  -H "content-type: application/json"${header} \\\n  -d '${body}'`]];
}

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
