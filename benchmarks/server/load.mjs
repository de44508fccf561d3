// Loads a server by autocannon: {url, connections, seconds, amount, requests: [{path, body, vectors}]} as JSON on standard
// input; for `seconds`, or where `amount` is not null until it has so many answers.
//
// Prints {seconds, statuses, errors, timeouts, wrong, compared, ms: [p50, p99]}. A request with `vectors`, each in
// base64, counts its answers of status 200 that have other ones as wrong. Milliseconds are those of answers with 200.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const autocannon = createRequire(process.argv[2] + "/")("autocannon");
const given = JSON.parse(readFileSync(0, "utf8"));
let compared = 0;
let wrong = 0;

function comparing(vectors) {
  const expected = vectors.join();
  return (status, body) => {
    if (status !== 200) return;
    compared += 1;
    if (JSON.parse(body).data.map((one) => one.embedding).join() !== expected) wrong += 1;
  };
}

const began = performance.now();
let last = began;
const times = [];
const statuses = {};
const run = autocannon({
  url: given.url,
  connections: given.connections,
  ...(given.amount === null ? { duration: given.seconds } : { amount: given.amount }),
  timeout: 60,
  requests: given.requests.map(({ path, body, vectors }) => ({
    method: "POST",
    path,
    headers: { "content-type": "application/json" },
    body,
    ...(vectors ? { onResponse: comparing(vectors) } : {}),
  })),
});
run.on("response", (_client, status, _bytes, milliseconds) => {
  statuses[status] = (statuses[status] ?? 0) + 1;
  last = performance.now();
  if (status === 200) times.push(milliseconds);
});
const result = await run;
times.sort((one, other) => one - other);
const at = (part) => (times.length ? times[Math.min(times.length - 1, Math.floor(part * times.length))] : null);
console.log(
  JSON.stringify({
    seconds: given.amount === null ? result.duration : (last - began) / 1000,
    statuses,
    errors: result.errors,
    timeouts: result.timeouts,
    compared,
    wrong,
    ms: [at(0.5), at(0.99)],
  }),
);
