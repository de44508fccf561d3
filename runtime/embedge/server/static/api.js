// Talks to this server: JSON out, vectors in as float32 in base64.

/** Where the server is; the page may lie below a path of a proxy's. */
export const BASE = new URL(".", document.baseURI);

const STORED = "embedge-api-key";
const MOST_TEXTS = 64;
const MOST_CHARACTERS = 200_000;

/** What listens for "needed": an answer of 401 came. */
export const keys = new EventTarget();

let key = "";
try {
  key = sessionStorage.getItem(STORED) ?? "";
} catch {
  // A browser that keeps nothing for this page: the key is lost when the page is loaded again.
}

/** The API key that was given in this tab; empty where none was. */
export const storedKey = () => key;

/** Keeps an API key until the tab is closed. */
export function storeKey(given) {
  key = given;
  try {
    sessionStorage.setItem(STORED, key);
  } catch {
    // As above.
  }
}

/** A request that was not answered as asked. `status` is 0 where no answer came. */
export class ServerError extends Error {
  constructor(message, status, retryAfter = 1) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The answer to a GET, or with a `body` to a POST. Throws ServerError, or AbortError by `signal`. */
export async function request(path, { body, signal } = {}) {
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
    response = await fetch(new URL(path, BASE), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Does it still run?", 0);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    keys.dispatchEvent(new Event("needed"));
    throw new ServerError("This needs an API key. Give it at the top of the page.", 401);
  }
  const wait = Number(response.headers.get("retry-after")) || 1;
  throw new ServerError(await reason(response), response.status, wait);
}

/** Vectors of one request's texts: `{rows, truncated, fingerprint}`, a Float32Array for each text. */
export async function embed(texts, { model, prompt, signal }) {
  const body = { model: model.name, input: texts, prompt, encoding_format: "base64" };
  const response = await request("v1/embeddings", { body, signal });
  const { data } = await response.json();
  return {
    rows: data.map((one) => decode(one.embedding)),
    truncated: Number(response.headers.get("x-embedge-truncated") ?? 0),
    fingerprint: response.headers.get("x-embedge-fingerprint"),
  };
}

/**
 * Vectors of any number of texts, in batches: `{rows, truncated, fingerprint}`.
 *
 * A batch that is too large for the server is halved. While it is busy, the batch waits; `onWait(seconds)` says so.
 */
export async function embedAll(texts, { model, prompt, signal, onProgress, onWait }) {
  const rows = [];
  let truncated = 0;
  let fingerprint = null;
  const waiting = batches(texts);
  while (waiting.length) {
    const batch = waiting.shift();
    try {
      const found = await embed(batch, { model, prompt, signal });
      if (fingerprint && found.fingerprint !== fingerprint) throw new ServerError("The server’s model has changed.", 0);
      rows.push(...found.rows);
      truncated += found.truncated;
      fingerprint = found.fingerprint;
      onProgress(rows.length);
    } catch (error) {
      if (error.status === 413 && batch.length > 1) {
        const middle = batch.length >> 1;
        waiting.unshift(batch.slice(0, middle), batch.slice(middle));
      } else if (error.status === 429) {
        waiting.unshift(batch);
        onWait(error.retryAfter);
        await pause(error.retryAfter * 1000, signal);
      } else throw error;
    }
  }
  return { rows, truncated, fingerprint };
}

function batches(texts) {
  const found = [];
  let characters = Infinity;
  for (const text of texts) {
    characters += text.length;
    if (characters > MOST_CHARACTERS || found.at(-1).length === MOST_TEXTS) {
      found.push([]);
      characters = text.length;
    }
    found.at(-1).push(text);
  }
  return found;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

async function reason(response) {
  const text = await response.text();
  try {
    const { error, message } = JSON.parse(text);
    return error?.message ?? (typeof error === "string" ? error : message) ?? text;
  } catch {
    return text || `The server answered ${response.status}.`;
  }
}
