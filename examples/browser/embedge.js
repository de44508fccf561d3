// Texts to vectors in a web page, by a bundle of embedge. The work is done in a Web Worker, so the page stays alive.

/**
 *     const model = await Embedder.load("bundle/");
 *     const passages = await model.embed(["ONNX Runtime runs on edge boxes."]);
 *     const query = await model.embedQuery("what runs at the edge?");
 *     similarity(query, passages[0], model.manifest.similarity);
 *
 * @property {object} manifest what the bundle's manifest.json says
 * @property {string} variant the one that runs
 * @property {number} bytes of the bundle's files that it takes
 * @property {number} threads
 * @property {boolean} kept whether the browser has kept these files
 */
export class Embedder {
  /** Made by `load`. @private */
  constructor(worker) {
    this.worker = worker;
    this.calls = new Map();
    this.last = 0;
    this.ended = null;
    worker.addEventListener("message", ({ data }) => this.receive(data));
    worker.addEventListener("error", (event) => this.fail(event));
  }

  /**
   * Load the bundle in a directory of this page's origin.
   *
   * @param {string | URL} url
   * @param {object} [options]
   * @param {number} [options.threads] where the page is cross-origin isolated; up to 4 by default, else there is one
   * @param {(done: number, all: number) => void} [options.onProgress] called with the bytes that have come
   * @returns {Promise<Embedder>}
   */
  static async load(url, { threads, onProgress } = {}) {
    const directory = new URL(url, document.baseURI);
    if (directory.origin !== location.origin) {
      throw new TypeError(`${directory.href} is of another origin; put the bundle beside the page`);
    }
    if (!(Number.isInteger(threads ?? 1) && (threads ?? 1) > 0)) {
      throw new TypeError(`threads is ${threads}; it takes a whole number from 1 on`);
    }
    const address = directory.origin + directory.pathname.replace(/\/?$/, "/");
    const model = new Embedder(new Worker(new URL("worker.js", import.meta.url), { type: "module" }));
    try {
      Object.assign(model, await model.call("load", { url: address, threads }, { onProgress }));
    } catch (error) {
      model.close();
      throw error;
    }
    return model;
  }

  /**
   * Vectors of documents, with the model's document prompt in front of each.
   *
   * Texts that are longer than the model's limit are cut, with one warning on the console that says how many were.
   *
   * @param {string[]} texts
   * @param {object} [options]
   * @param {string} [options.prompt] in the place of the document prompt
   * @param {(done: number) => void} [options.onProgress] called with the number of texts done
   * @param {AbortSignal} [options.signal] stops it
   * @returns {Promise<Float32Array[]>}
   */
  async embed(texts, { prompt = this.prompt("document"), onProgress, signal } = {}) {
    if (!Array.isArray(texts)) throw new TypeError("texts is an array of strings; embedQuery takes one string");
    checkText("prompt", prompt);
    texts.forEach((text, index) => checkText(`texts[${index}]`, text));
    return this.call("embed", { texts: texts.map((text) => prompt + text) }, { onProgress, signal });
  }

  /**
   * The vector of a query, with the model's query prompt in front of it.
   *
   * @param {string} text
   * @returns {Promise<Float32Array>}
   */
  async embedQuery(text) {
    const [vector] = await this.embed([text], { prompt: this.prompt("query") });
    return vector;
  }

  /**
   * The smallest cosine between the vectors that are sealed in the bundle and those of the same texts here. Below 0.998
   * something is wrong (0.999999 for fp32).
   */
  async verify() {
    const { texts, variants } = this.manifest.measured;
    const vectors = await this.embed(texts, { prompt: "" });
    const sealed = variants[this.variant].fingerprint.map((row) => {
      const bytes = Uint8Array.from(atob(row), (letter) => letter.charCodeAt(0));
      return new Float32Array(bytes.buffer);
    });
    return Math.min(...vectors.map((vector, index) => similarity(vector, sealed[index], "cosine")));
  }

  /** End the worker, and with it all calls. */
  close() {
    this.worker.terminate();
    this.ended = "this Embedder is closed; load it again";
    this.fail({ message: this.ended });
  }

  /** The prompt of a kind of texts, else the default one, else none. @private */
  prompt(kind) {
    const { prompts, default_prompt: fallback } = this.manifest;
    const name = [kind, fallback].find((name) => name !== null && Object.hasOwn(prompts, name));
    return name === undefined ? "" : prompts[name];
  }

  /** @private */
  async call(method, values, { onProgress, signal } = {}) {
    signal?.throwIfAborted();
    if (this.ended) throw new Error(this.ended);
    const id = ++this.last;
    const stop = () => {
      this.worker.postMessage({ id, method: "stop" });
      this.calls.get(id)?.reject(signal.reason);
      this.calls.delete(id);
    };
    signal?.addEventListener("abort", stop);
    try {
      return await new Promise((resolve, reject) => {
        this.calls.set(id, { resolve, reject, onProgress });
        this.worker.postMessage({ id, method, ...values });
      });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** @private */
  receive({ id, progress, warning, error, result }) {
    const call = this.calls.get(id);
    if (!call) return;
    if (progress) return call.onProgress?.(...progress);
    if (warning) return console.warn(warning);
    this.calls.delete(id);
    if (error) call.reject(Object.assign(new Error(error.message), { name: error.name }));
    else call.resolve(result);
  }

  /** @private */
  fail({ message = "the worker's script can't be loaded" }) {
    for (const { reject } of this.calls.values()) reject(new Error(message));
    this.calls.clear();
  }
}

function checkText(name, text) {
  if (typeof text !== "string") throw new TypeError(`${name} is not a string but ${typeof text}`);
  if (!text.isWellFormed()) throw new TypeError(`${name} has half of a surrogate pair; remove it`);
}

/**
 * How alike two vectors are, by the measure that a manifest names; larger is more alike: distances are negative.
 *
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {"cosine" | "dot" | "euclidean" | "manhattan"} [measure]
 */
export function similarity(a, b, measure = "cosine") {
  if (a.length !== b.length) throw new TypeError(`vectors of ${a.length} and ${b.length} dimensions can't be compared`);
  const sum = (term) => a.reduce((total, value, index) => total + term(value, b[index]), 0);
  switch (measure) {
    case "dot":
      return sum((x, y) => x * y);
    case "euclidean":
      return -Math.sqrt(sum((x, y) => (x - y) ** 2));
    case "manhattan":
      return -sum((x, y) => Math.abs(x - y));
    case "cosine":
      return sum((x, y) => x * y) / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y) || 1);
    default:
      throw new TypeError(`measure is ${measure}; it is cosine, dot, euclidean or manhattan`);
  }
}
