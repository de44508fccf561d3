// Live charts of what the server does, from its metrics.

import { request } from "./api.js";
import { makeChart } from "./chart.js";
import { byId, count, say } from "./dom.js";
import { buckets, parseMetrics, quantile, total } from "./prometheus.js";

const SECONDS = 120;
const EVERY_MS = 1000;
const WINDOW = 5; // readings that a quantile is of
const INFERENCE = ({ route }) => /embed|rerank/.test(route ?? "");

let readings = [];
let charts = [];
let paused = false;
let asking = false;
let refused = false; // for want of a key: nothing is asked again until there is one

/** Reads the metrics every second while the page is visible. */
export function startLoad() {
  const whole = (value) => (value < 10 && value % 1 ? value.toFixed(1) : count(Math.round(value)));
  const options = { seconds: SECONDS };
  charts = [
    makeChart(byId("throughput"), { ...options, title: "Throughput", unit: "a second", least: 4, axis: short, lines: [{ name: "texts", format: whole }] }),
    makeChart(byId("latency"), {
      ...options, title: "Latency", unit: "of a request", least: 0.004, axis: time,
      lines: [{ name: "median", format: time }, { name: "p99", format: time }],
    }),
    makeChart(byId("queue"), { ...options, title: "Queue", unit: "waiting or running", least: 4, axis: short, lines: [{ name: "tokens", format: whole }] }),
  ];
  byId("pause").addEventListener("click", ({ target }) => {
    paused = !paused;
    target.setAttribute("aria-pressed", paused);
  });
  document.addEventListener("visibilitychange", read);
  new ResizeObserver(draw).observe(byId("throughput"));
  setInterval(read, EVERY_MS);
  read();
}

/** Asks again, with the key that was given. */
export function retryLoad() {
  refused = false;
  read();
}

async function read() {
  if (document.hidden || paused || asking || refused) return;
  asking = true;
  try {
    const samples = parseMetrics(await (await request("metrics")).text());
    add(samples, performance.now() / 1000);
    say(byId("load-error"));
    draw();
  } catch (error) {
    refused = error.status === 401;
    say(byId("load-error"), error.message);
  } finally {
    asking = false;
  }
}

function add(samples, time) {
  const reading = {
    time,
    texts: total(samples, "embedge_texts_total"),
    queue: total(samples, "embedge_queue_tokens"),
    latency: buckets(samples, "embedge_request_seconds", INFERENCE),
  };
  const last = readings.at(-1);
  if (last && reading.texts < last.texts) readings = []; // the server was started again
  readings = [...readings, reading].filter((one) => one.time > time - SECONDS - WINDOW);
}

function draw() {
  const pairs = readings.slice(1).map((reading, index) => ({ reading, last: readings[index], first: readings[Math.max(0, index + 1 - WINDOW)] }));
  const fresh = pairs.filter(({ reading, last }) => reading.time - last.time < 5);
  const now = readings.at(-1)?.time ?? 0;
  const rows = [
    fresh.map(({ reading, last }) => ({ time: reading.time, values: [(reading.texts - last.texts) / (reading.time - last.time)] })),
    fresh.map(({ reading, first }) => ({ time: reading.time, values: [0.5, 0.99].map((q) => quantile(q, first.latency, reading.latency)) })),
    readings.map(({ time, queue }) => ({ time, values: [queue] })),
  ];
  charts.forEach((draw, index) => draw(rows[index], now));
}

const short = (value) => (value >= 1000 ? `${+(value / 1000).toFixed(1)}k` : `${+value.toFixed(1)}`);
const time = (seconds) => (seconds >= 1 ? `${+seconds.toFixed(1)} s` : `${+(seconds * 1000).toPrecision(2)} ms`);
