// The rate of the last minutes as a line.

import { number, rate } from "./figures.js";
import { say, svg } from "./svg.js";

export const KEPT = 300; // seconds
const SPANS = [30, 60, 120, KEPT];
const MARGIN = { top: 14, right: 2, bottom: 22, left: 2 };

/** Draw `samples`, the oldest first: `{ at, rate }` in seconds and lookups per second; a rate of null is a gap. */
export function drawChart(samples) {
  const chart = document.getElementById("chart");
  const { width, height } = chart.getBoundingClientRect();
  const now = samples.at(-1)?.at ?? 0;
  const span = SPANS.find((length) => now - (samples[0]?.at ?? 0) <= length) ?? KEPT;
  const top = ceiling(Math.max(...samples.map((sample) => sample.rate ?? 0), 1));
  const bottom = height - MARGIN.bottom;
  const x = (at) => MARGIN.left + (width - MARGIN.left - MARGIN.right) * (1 - (now - at) / span);
  const y = (value) => bottom - (bottom - MARGIN.top) * (value / top);

  const parts = [];
  for (const value of [top, top / 2, 0]) {
    parts.push(svg("path", { d: `M0 ${y(value)}H${width}`, class: value ? "grid" : "base" }));
    if (value) parts.push(svg("text", { x: 0, y: y(value) - 5 }, number(value)));
  }
  for (const run of runs(samples)) {
    const points = run.map((sample) => `${x(sample.at).toFixed(1)} ${y(sample.rate).toFixed(1)}`);
    const [left, right] = [x(run[0].at).toFixed(1), x(run.at(-1).at).toFixed(1)];
    parts.push(
      svg("path", { d: `M${left} ${bottom}L${points.join("L")}L${right} ${bottom}Z`, class: "area" }),
      svg("path", { d: `M${points.join("L")}`, class: "line" }),
    );
  }
  const last = samples.at(-1);
  if (last && last.rate !== null) parts.push(svg("circle", { cx: x(last.at), cy: y(last.rate), r: 3.5 }));
  parts.push(
    svg("text", { x: 0, y: height - 4 }, span < 60 ? `${span} s ago` : `${span / 60} min ago`),
    svg("text", { x: width, y: height - 4, "text-anchor": "end" }, "now"),
  );
  chart.replaceChildren(document.getElementById("chart-title"), ...parts);
  const measured = samples.filter((sample) => sample.rate !== null).map((sample) => sample.rate);
  if (measured.length) {
    say("chart-title", `Lookups per second: ${rate(measured.at(-1))} now, at most ${rate(Math.max(...measured))} since the line begins`);
  }
}

/** Runs of samples without a gap. */
function runs(samples) {
  const found = [[]];
  for (const sample of samples) {
    if (sample.rate === null) found.push([]);
    else found.at(-1).push(sample);
  }
  return found.filter((run) => run.length);
}

/** The next 1, 2 or 5 times a power of ten: the scale changes seldom. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
