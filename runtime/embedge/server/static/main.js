// Starts the page: asks what is loaded, and hands the model to each section.

import { startKey } from "./key.js";
import { retryLoad, startLoad } from "./load.js";
import { showModels, startPicker } from "./models.js";
import * as search from "./search.js";
import * as similarity from "./similarity.js";
import { showSnippets } from "./snippets.js";

async function load() {
  const status = await showModels();
  if (!status) return;
  startPicker(status.models, (model) => {
    similarity.useModel(model);
    search.useModel(model);
    showSnippets(model, status.models);
  });
}

startKey(() => {
  load();
  retryLoad();
});
similarity.startSimilarity();
search.startSearch();
startLoad();
load();
