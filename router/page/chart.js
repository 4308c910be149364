// Lines over time. Pointing at a moment, by mouse, finger or arrow keys, shows what was measured then.

import { clock } from "./figures.js";
import { html, svg } from "./svg.js";

const SPANS = [60, 120, 300, 900, 1800, 3600]; // seconds
const MARGIN = { top: 18, right: 5, bottom: 20, left: 0 };

export class Chart {
  /**
   * Fill a figure. `series` are `{ name, key, kind }`: which value of a sample is drawn as what: area, line, faint or bad.
   * `write` turns a value into text; `least` is the smallest scale, even if all values are 0.
   */
  constructor(figure, { label, series, write, least }) {
    this.label = label;
    this.series = series;
    this.write = write;
    this.least = least;
    this.samples = [];
    this.pointed = null;
    this.keys = html("span", { class: "keys" });
    this.readout = html("output", {});
    this.drawing = svg("svg", { role: "img", tabindex: "0", "aria-label": `${label}: nothing measured yet` });
    figure.replaceChildren(html("figcaption", {}, html("span", { class: "label" }, label), this.keys, this.readout), this.drawing);
    this.drawing.addEventListener("pointermove", (event) => this.point(this.nearest(event.offsetX)));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
    this.drawing.addEventListener("blur", () => this.point(null));
    this.drawing.addEventListener("keydown", (event) => this.step(event));
  }

  /** Draw samples, the oldest first: objects with `at` in Unix seconds and a value a series, null where there is none. */
  draw(samples, interval, longest) {
    const now = samples.at(-1)?.at ?? 0;
    const age = now - (samples[0]?.at ?? now);
    this.span = SPANS.find((span) => span >= Math.min(age, longest));
    this.samples = samples.filter((sample) => sample.at >= now - this.span);
    this.gap = 3 * interval; // longer without a sample is a gap
    this.now = now;
    if (this.pointed !== null && !this.samples.some((sample) => sample.at === this.pointed)) this.pointed = null;
    this.paint();
    this.tell();
  }

  paint() {
    const { width, height } = this.drawing.getBoundingClientRect();
    if (!width || !this.span) return;
    const values = this.samples.flatMap((sample) => this.series.map(({ key }) => sample[key] ?? 0));
    const top = ceiling(Math.max(...values, this.least));
    const bottom = height - MARGIN.bottom;
    this.x = (at) => MARGIN.left + (width - MARGIN.left - MARGIN.right) * (1 - (this.now - at) / this.span);
    const y = (value) => bottom - (bottom - MARGIN.top) * (value / top);

    const parts = [top, top / 2, 0].map((value) => svg("path", { d: `M0 ${y(value).toFixed(1)}H${width}`, class: value ? "grid" : "base" }));
    for (const { key, kind } of this.shown()) {
      for (const run of this.runs(key)) {
        const points = run.map((sample) => `${this.x(sample.at).toFixed(1)} ${y(sample[key]).toFixed(1)}`);
        const [left, right] = [run[0], run.at(-1)].map((sample) => this.x(sample.at).toFixed(1));
        if (kind === "area") parts.push(svg("path", { d: `M${left} ${bottom}L${points.join("L")}L${right} ${bottom}Z`, class: "fill" }));
        parts.push(svg("path", { d: `M${points.join("L")}${points.length > 1 ? "" : "h0.1"}`, class: `line ${kind}` }));
      }
    }
    for (const value of [top, top / 2]) parts.push(svg("text", { x: 0, y: y(value) - 5 }, this.write(value)));
    parts.push(
      svg("text", { x: 0, y: height - 3 }, this.span < 120 ? `${this.span} s ago` : `${this.span / 60} min ago`),
      svg("text", { x: width, y: height - 3, "text-anchor": "end" }, "now"),
    );
    const sample = this.samples.find(({ at }) => at === this.pointed);
    if (sample) {
      const x = this.x(sample.at).toFixed(1);
      parts.push(svg("path", { d: `M${x} ${MARGIN.top}V${bottom}`, class: "pointer" }));
      for (const { key, kind } of this.shown()) {
        if (known(sample[key])) parts.push(svg("circle", { cx: x, cy: y(sample[key]).toFixed(1), r: 3.5, class: kind }));
      }
    }
    this.drawing.replaceChildren(...parts);
  }

  /** Say in words what the lines show. */
  tell() {
    const told = this.series.map(({ name, key }) => {
      const values = this.samples.map((sample) => sample[key]).filter(known);
      if (!values.length) return `${name} not measured yet`;
      return `${name} ${this.write(values.at(-1))} now, at most ${this.write(Math.max(...values))}`;
    });
    this.drawing.setAttribute("aria-label", `${this.label}: ${told.join("; ")}`);
    const shown = this.shown();
    this.keys.replaceChildren(...(shown.length > 1 ? shown.map(({ name, kind }) => html("span", { class: kind }, name)) : []));
  }

  /** The series that are drawn: those of kind bad only if they have values above 0. */
  shown() {
    return this.series.filter(({ kind, key }) => kind !== "bad" || this.samples.some((sample) => sample[key] > 0));
  }

  /** Show one sample's values, by its time; null shows none. */
  point(at) {
    if (at === this.pointed) return;
    this.pointed = at;
    const sample = this.samples.find((one) => one.at === at);
    const values = this.series.filter(({ key }) => sample && known(sample[key])).map(({ name, key }) => `${name} ${this.write(sample[key])}`);
    this.readout.textContent = sample ? `${clock(at)}  ${values.join(", ") || "nothing"}` : "";
    this.paint();
  }

  nearest(x) {
    if (!this.samples.length || !this.x) return null;
    const distance = (sample) => Math.abs(this.x(sample.at) - x);
    return this.samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best)).at;
  }

  step(event) {
    const moments = [...new Set(this.samples.map((sample) => sample.at))]; // an interruption has that of the sample before
    const last = moments.length - 1;
    const found = moments.indexOf(this.pointed);
    const from = found < 0 ? last + 1 : found;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape" && this.pointed !== null) {
      event.stopPropagation();
      this.point(null);
    }
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.point(moments[Math.min(Math.max(to, 0), last)]);
  }

  /** Runs of samples without a gap. */
  runs(key) {
    const found = [[]];
    for (const sample of this.samples) {
      const before = found.at(-1).at(-1);
      if (before && (!known(sample[key]) || sample.at - before.at > this.gap)) found.push([]);
      if (known(sample[key])) found.at(-1).push(sample);
    }
    return found.filter((run) => run.length);
  }
}

/** A line without axes for a row of a table: the values of the last samples, null where there is none. */
export function sparkline(values, width, height) {
  const top = Math.max(...values.filter(known), 0);
  if (!top || values.length < 2) return "";
  let pen = "M";
  return values
    .map((value, at) => {
      if (!known(value)) {
        pen = "M";
        return "";
      }
      const point = `${pen}${((width * at) / (values.length - 1)).toFixed(1)} ${(height - 1.5 - (height - 3) * (value / top)).toFixed(1)}`;
      pen = "L";
      return point;
    })
    .join("");
}

const known = (value) => value !== null && value !== undefined;

/** The next 1, 2 or 5 times a power of ten, so that the scale seldom changes. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}
