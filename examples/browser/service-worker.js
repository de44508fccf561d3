// Keeps the page's own files, so that it opens without a network, and gives them the headers that a plain file server
// does not. The bundle's files are kept by bundle.js.

importScripts("program.js"); // PROGRAM: the files and their sha256, and one of all; written by the build

const MINE = `embedge-program ${registration.scope} `;
const CACHE = MINE + PROGRAM.version;

// With the first two, pages may have threads. A policy in a page does not hold for its workers; one in a header does.
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy": PROGRAM.policy,
};

addEventListener("install", (event) => event.waitUntil(fill().then(() => skipWaiting())));
addEventListener("activate", (event) => event.waitUntil(dropOlder().then(() => clients.claim())));

addEventListener("fetch", (event) => {
  const [address] = event.request.url.split(/[?#]/);
  if (event.request.method !== "GET" || !address.startsWith(registration.scope)) return;
  const path = address.slice(registration.scope.length) || "index.html";
  if (Object.hasOwn(PROGRAM.files, path)) event.respondWith(answer(path, event.request));
});

/** The browser compares the hashes, so that no file is of another version of the page. */
async function fill() {
  const cache = await caches.open(CACHE);
  const requests = Object.entries(PROGRAM.files).map(
    ([path, integrity]) => new Request(path, { integrity, cache: "no-cache" }),
  );
  await cache.addAll(requests);
}

async function dropOlder() {
  const names = (await caches.keys()).filter((name) => name.startsWith(MINE) && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}

async function answer(path, request) {
  const response = (await (await caches.open(CACHE)).match(path)) ?? (await fetch(request));
  // Left as it is, so that the browser finds what it has compiled of it before; so are redirects of a page.
  if (path.endsWith(".wasm") || response.type === "opaqueredirect") return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
