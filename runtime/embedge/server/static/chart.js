// A small line chart over time, as SVG with axes; its current values are text above it.

import { element, svg } from "./dom.js";

const HEIGHT = 150;
const LEFT = 46;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 22;

/** A chart in `figure` of `lines`: `[{name, format}]`. `axis` writes a number at its axis, which is never below `least`. */
export function makeChart(figure, { title, unit, lines, axis, least, seconds }) {
  const values = lines.map(() => element("b", {}, "–"));
  const legend = lines.map(({ name }, index) =>
    element("span", {}, svg("svg", { class: `swatch line-${index}`, viewBox: "0 0 18 8", "aria-hidden": "true" }, svg("path", { d: "M0 4H18" })), `${name} `, values[index]),
  );
  const picture = svg("svg", { class: "chart", role: "img", height: HEIGHT });
  figure.replaceChildren(
    element("figcaption", {}, element("h3", {}, title, " ", element("small", {}, unit)), element("p", {}, ...legend)),
    picture,
  );

  /** Draws `readings`: `[{time, values}]` in seconds, with a value or null for each line. */
  return function draw(readings, now) {
    const width = Math.max(200, figure.clientWidth);
    const top = nice(Math.max(least, ...readings.flatMap((reading) => reading.values.map((value) => value ?? 0))));
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (1 - (now - time) / seconds);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const latest = readings.at(-1)?.values ?? [];
    lines.forEach(({ format }, index) => (values[index].textContent = latest[index] == null ? "–" : format(latest[index])));
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("aria-label", `${title}, ${unit}, of the last ${seconds} seconds: ${spoken(lines, latest)}`);
    picture.replaceChildren(
      ...[0, top / 2, top].flatMap((value) => [
        svg("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width - RIGHT}` }),
        svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, axis(value)),
      ]),
      ...[seconds, seconds / 2, 0].map((ago) =>
        svg("text", { x: x(now - ago), y: HEIGHT - 5, "text-anchor": { [seconds]: "start", 0: "end" }[ago] ?? "middle" }, ago ? `−${ago} s` : "now"),
      ),
      ...lines.map((_, index) => svg("path", { class: `line line-${index}`, d: path(readings, index, x, y, now - seconds) })),
    );
  };
}

/** A line through the values, broken where one is missing or readings are far apart. */
function path(readings, index, x, y, since) {
  let d = "";
  let last = -Infinity;
  for (const { time, values } of readings) {
    if (time < since || values[index] == null) continue;
    const move = time - last > 2.5;
    // A lone point shows as a dot, by the line's round ends.
    d += `${move ? "M" : "L"}${x(time).toFixed(1)} ${y(values[index]).toFixed(1)}${move ? "h0" : ""}`;
    last = time;
  }
  return d;
}

/** The next of 1, 2, 4, 10, 20, … that is not below `value`. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 10].find((step) => step * power >= value * 0.999999);
}

const spoken = (lines, latest) =>
  lines.map(({ name, format }, index) => `${name} ${latest[index] == null ? "nothing" : format(latest[index])}`).join(", ");
