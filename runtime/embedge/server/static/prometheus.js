// Prometheus's text format, and rates and quantiles between two readings of it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** The samples of a text: `[{name, labels, value}]`. */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\[n"\\]/g, (escape) => ESCAPES[escape]);
    }
    samples.push({ name: found[1], labels, value: number(found[3]) });
  }
  return samples;
}

/** The sum of a metric's samples whose labels `fit`; null where there is none. */
export function total(samples, name, fit = () => true) {
  const values = samples.filter((sample) => sample.name === name && fit(sample.labels)).map(({ value }) => value);
  return values.length ? values.reduce((a, b) => a + b) : null;
}

/** A histogram: how many were at most so long, by the bounds of its buckets. */
export function buckets(samples, name, fit = () => true) {
  const counts = new Map();
  for (const { name: found, labels, value } of samples) {
    if (found !== `${name}_bucket` || !fit(labels)) continue;
    const bound = number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** The `q` quantile of what came into a histogram between two readings; null where nothing came. Linear in a bucket. */
export function quantile(q, before, after) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => after.get(bound) - (before.get(bound) ?? 0));
  const all = counts.at(-1);
  if (!(all > 0)) return null;
  const rank = q * all;
  const place = counts.findIndex((count) => count >= rank);
  const low = place ? bounds[place - 1] : 0;
  if (bounds[place] === Infinity) return low;
  const below = place ? counts[place - 1] : 0;
  return low + ((bounds[place] - low) * (rank - below)) / (counts[place] - below);
}

const number = (text) => (text === "+Inf" ? Infinity : Number(text));
