// A bundle on a web server: its manifest, which of its graphs runs in a browser, and its files, each with the sha256 that
// the manifest says. What was checked is kept in the browser, so that it is fetched once and there without a network.

const FORMAT_VERSION = 3;
const KEPT = "embedge-bundles";
const MANIFEST = "manifest.json";
const FILE_NAME = /^[A-Za-z0-9._-]{1,200}(?<!\.)$/;
const FIELDS = ["source", "prompts", "tokenizer", "files", "variants", "measured"];
const SEAL = /"seal": "([0-9a-f]{64})"/g;

// What graphs may need that onnxruntime-web has. WebAssembly multiplies unsigned by signed 8-bit numbers exactly on every
// CPU, unless it is built with relaxed SIMD, which the package is not.
const CAPABILITIES = ["exact_u8s8"];

/** A bundle that can't be used: the message says why, and what to do. */
export class BundleError extends Error {
  name = "BundleError";
}

/**
 * What `manifest.json` says, once its version and its seal are checked.
 *
 * @param {Uint8Array} bytes
 */
export async function readManifest(bytes) {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch {
    throw new BundleError(`${MANIFEST} is not JSON: is this the address of a bundle?`);
  }
  const version = manifest?.format_version;
  if (version !== FORMAT_VERSION) {
    const advice = version > FORMAT_VERSION ? "put a newer page beside it" : "export the checkpoint again";
    throw new BundleError(
      `${MANIFEST} has format version ${JSON.stringify(version)}, and this page reads ${FORMAT_VERSION}; ${advice}.`,
    );
  }
  const seals = [...text.matchAll(SEAL)].map(([, seal]) => seal);
  const unsealed = new TextEncoder().encode(text.replace(SEAL, `"seal": "${"0".repeat(64)}"`));
  if (seals.length !== 1 || seals[0] !== (await sha256(unsealed))) {
    throw new BundleError(`${MANIFEST} was altered after it was sealed; copy the bundle to the server again.`);
  }
  const lacking = FIELDS.find((name) => typeof manifest[name] !== "object" || manifest[name] === null);
  if (lacking) throw new BundleError(`${MANIFEST} has no ${lacking}; export the checkpoint again.`);
  const names = [...Object.keys(manifest.files), ...Object.values(manifest.variants).flatMap(filesOf)];
  const foreign = names.find((name) => !FILE_NAME.test(name));
  if (foreign !== undefined) {
    throw new BundleError(`${MANIFEST} names ${JSON.stringify(foreign)}: a file of a bundle lies in the bundle itself.`);
  }
  if (manifest.task !== "embed") throw new BundleError("This bundle is a reranker, which makes no vectors.");
  return manifest;
}

/** The names of a variant's files. */
function filesOf({ weights, graphs = [] }) {
  return [weights, ...graphs.map(({ file }) => file)];
}

/**
 * The variant and the graph that embedge would take on a CPU without its own kernels.
 *
 * @returns {{variant: string, graph: string, weights: string}} its name, and those of its files
 */
export function choose(manifest) {
  for (const [name, variant] of Object.entries(manifest.variants)) {
    if (!["cpu", "any"].includes(variant.devices[0])) continue;
    const runs = ({ execution, needs, unsigned }) =>
      execution === "ragged" && !unsigned && needs.every((need) => CAPABILITIES.includes(need));
    const graph = variant.graphs.find(runs);
    if (graph) return { variant: name, graph: graph.file, weights: variant.weights };
  }
  const names = Object.keys(manifest.variants).join(" and ");
  throw new BundleError(`None of the bundle's variants (${names}) runs in a browser; export it with --precision int8.`);
}

/** An opened bundle. */
export class Bundle {
  /** Made by `open`. @private */
  constructor(url, manifest, raw, kept) {
    this.url = url;
    this.manifest = manifest;
    this.raw = raw;
    this.kept = kept;
  }

  /**
   * The bundle in a directory of this origin; the one that was kept, where the server can't be reached or is down.
   *
   * @param {URL} url with a slash at its end
   */
  static async open(url) {
    if (!globalThis.caches || !crypto.subtle) {
      throw new BundleError("Browsers check and keep files for pages from https or localhost only: serve this page so.");
    }
    const kept = await caches.open(KEPT).catch(() => null); // some private windows, or where the reader forbids it
    const place = new URL(MANIFEST, url);
    // Past the browser's own cache: the weights would lie in both.
    const answer = await fetch(place, { cache: "no-store" }).catch(() => null);
    const response = answer?.status < 500 ? answer : ((await kept?.match(place)) ?? answer);
    if (!response) throw new BundleError(`${place} can't be reached, and this browser has kept no copy.`);
    if (!response.ok) throw new BundleError(`${place} is not there: the server answered ${response.status}.`);
    const raw = new Uint8Array(await response.arrayBuffer());
    return new Bundle(url, await readManifest(raw), raw, kept);
  }

  /**
   * A file's bytes, which have the sealed sha256.
   *
   * @param {string} name
   * @param {(bytes: number) => void} onBytes called with the number of each part that has come
   */
  async read(name, onBytes = () => {}) {
    const sealed = this.manifest.files[name];
    if (!sealed) throw new BundleError(`${MANIFEST} does not seal a file ${name}.`);
    const key = this.key(name);
    const kept = await this.kept?.match(key);
    if (kept) {
      const bytes = await receive(kept, sealed.bytes, onBytes);
      if ((await sha256(bytes)) === sealed.sha256) return bytes;
      onBytes(-bytes.length);
    }
    const url = new URL(name, this.url);
    const response = await fetch(url, { cache: "no-store" }).catch(() => {
      throw new BundleError(`${url} can't be reached, and this browser has kept no copy.`);
    });
    if (!response.ok) throw new BundleError(`${url} is not there: the server answered ${response.status}.`);
    const bytes = await receive(response, sealed.bytes, onBytes);
    if ((await sha256(bytes)) !== sealed.sha256) {
      throw new BundleError(`${name} is damaged: it has not the sha256 of ${MANIFEST}. Copy the bundle to the server again.`);
    }
    await this.keep(key, bytes);
    return bytes;
  }

  /** Keep the manifest too, and drop what an earlier bundle at the same address left; whether all `names` are kept. */
  async finish(names) {
    if (!this.kept) return false;
    const place = new URL(MANIFEST, this.url);
    await this.keep(place.href, this.raw);
    const present = [place.href, ...names.map((name) => this.key(name))];
    const found = (await this.kept.keys()).map((request) => request.url);
    const stale = found.filter((url) => new URL(".", url).href === this.url.href && !present.includes(url));
    await Promise.all(stale.map((url) => this.kept.delete(url)));
    return present.every((url) => found.includes(url));
  }

  /** @private */
  key(name) {
    return new URL(`${name}?sha256=${this.manifest.files[name].sha256}`, this.url).href;
  }

  /** @private */
  async keep(key, bytes) {
    // A browser without room for it fetches it again next time.
    await this.kept?.put(key, new Response(bytes)).catch(() => {});
  }
}

/** A response's bytes, `size` of them; of a longer one as many and one more. */
async function receive(response, size, onBytes) {
  const bytes = new Uint8Array(size);
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, length);
    if (length + value.length > size) {
      await reader.cancel();
      return bytes.subarray(0, 0); // which no file's sha256 is of
    }
    bytes.set(value, length);
    length += value.length;
    onBytes(value.length);
  }
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
