// npm run build -- BUNDLE [OUT]: the page with a bundle, in one directory (dist) that any static server serves.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { choose, readManifest } from "./bundle.js";

const HERE = import.meta.dirname;
const PACKAGES = path.join(HERE, "node_modules");
const PAGE = ["index.html", "style.css", "icon.svg", "main.js", "offline.js", "embedge.js", "worker.js", "bundle.js", "tokenizer.js"];
const TOKENIZER = "tokenizer.json";
const VENDOR = {
  "onnxruntime-web/dist": ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"],
  "@huggingface/tokenizers/dist": ["tokenizers.min.mjs"],
};

async function build(bundle, out) {
  if (!fs.existsSync(path.join(bundle, "manifest.json"))) throw new Error(`${bundle} is no bundle: it has no manifest.json`);
  if (!fs.existsSync(PACKAGES)) throw new Error(`the packages are not installed; run npm ci in ${HERE}`);
  if (fs.existsSync(out) && !fs.existsSync(path.join(out, "program.js"))) {
    throw new Error(`${out} is there, and no page that was built; name another directory`);
  }
  const manifest = await readManifest(fs.readFileSync(path.join(bundle, "manifest.json")));
  const { variant, graph, weights } = choose(manifest);
  fs.mkdirSync(path.dirname(out), { recursive: true });
  const made = fs.mkdtempSync(`${out}.`);
  const old = `${made}.old`;
  try {
    const copy = (from, to) => fs.cpSync(from, path.join(made, to), { dereference: true });
    for (const name of PAGE) copy(path.join(HERE, name), name);
    for (const [place, names] of Object.entries(VENDOR)) {
      for (const name of names) copy(path.join(PACKAGES, place, name), `vendor/${name}`);
    }
    const program = { version: "", policy: policy(made), files: hashes(made) };
    program.version = createHash("sha256").update(JSON.stringify(program)).digest("hex").slice(0, 16);
    fs.writeFileSync(path.join(made, "program.js"), `const PROGRAM = ${JSON.stringify(program, null, 2)};\n`);
    copy(path.join(HERE, "service-worker.js"), "service-worker.js");
    for (const name of ["manifest.json", TOKENIZER, graph, weights]) copy(path.join(bundle, name), `bundle/${name}`);
    for (const name of [TOKENIZER, graph, weights]) check(path.join(made, "bundle"), name, manifest);
    fs.chmodSync(made, 0o755);
    if (fs.existsSync(out)) fs.renameSync(out, old);
    fs.renameSync(made, out);
    fs.rmSync(old, { recursive: true, force: true });
  } finally {
    fs.rmSync(made, { recursive: true, force: true });
  }
  console.log(`${out}: the page with ${manifest.source.id} in ${variant}; serve it, as by python -m http.server -d ${out}`);
}

/** Throws where a copied file is not the one that was sealed. */
function check(directory, name, manifest) {
  const found = createHash("sha256").update(fs.readFileSync(path.join(directory, name))).digest("hex");
  if (found !== manifest.files[name]?.sha256) {
    throw new Error(`${name} is damaged: it has not the sha256 of manifest.json; copy or export the bundle again`);
  }
}

/** The sha256 of every file in a directory, as browsers compare them. */
function hashes(directory) {
  const files = fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name))).sort();
  const hash = (name) => createHash("sha256").update(fs.readFileSync(path.join(directory, name))).digest("base64");
  return Object.fromEntries(paths.map((name) => [name.replaceAll("\\", "/"), `sha256-${hash(name)}`]));
}

/** The page's Content-Security-Policy. */
function policy(directory) {
  const page = fs.readFileSync(path.join(directory, "index.html"), "utf8");
  return page.match(/http-equiv="Content-Security-Policy" content="([^"]+)"/)[1];
}

const from = process.env.INIT_CWD ?? process.cwd(); // where npm was called
const [bundle, out = path.join(HERE, "dist"), ...more] = process.argv.slice(2);
if (!bundle || !out || bundle.startsWith("-") || more.length) {
  console.error("usage: npm run build -- BUNDLE [OUT]");
  process.exit(2);
}
try {
  await build(path.resolve(from, bundle), path.resolve(from, out));
} catch (error) {
  console.error(`build: ${error.message}`);
  process.exit(1);
}
