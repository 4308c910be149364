// The ring as a picture. Position 0 is at the top, and positions grow clockwise.
//
//   outermost   what the last change moved, which fades
//   band        the partitions, in the colour of their preferred owner
//   lanes       the virtual nodes, a lane for each shard

import { colour } from "./colours.js";
import { number, percent, plural } from "./figures.js";
import { html, say, svg } from "./svg.js";

const MOVED = [282, 290];
const BAND = [230, 276];
const LANES = [172, 222];
const LANE_MAX = 12;
const SEPARATED = 512; // arcs up to which a gap between them can be seen

let shown = null;

/** Draw a layout: the answer of /ring/layout. */
export function drawRing(layout) {
  shown = layout;
  const runs = owned(layout);
  const arcs = document.getElementById("arcs");
  arcs.classList.toggle("separated", layout.arcs.length <= SEPARATED);
  const shares = layout.shards.map((name, index) => share(layout, name, runs[index]));
  arcs.replaceChildren(...layout.shards.map((name, index) => shape(name, runs[index].map(segmentOf(layout, BAND)), shares[index])));
  document.getElementById("nodes").replaceChildren(...lanes(layout));
  document.getElementById("moved").replaceChildren(...moved(layout));
  say("ring-title", `The ring at epoch ${layout.epoch}: ${shares.join("; ")}`);
  say("explained", explanation(layout));
  legend(layout, runs);
}

/** How many partitions the last change gave to another preferred owner. */
export const movedPartitions = (layout) => layout.moved.reduce((sum, [, count]) => sum + count, 0);

/** Mark a key's position, with a line to its arc; null takes the mark away. */
export function mark(way) {
  const marker = document.getElementById("marker");
  marker.replaceChildren();
  say("ring-way", way ? `partition ${number(way.partition)}, ${way.shard}` : "");
  if (!way) return;
  const [first, last] = [way.partition / way.partitions, (way.partition + 1) / way.partitions];
  const [x, y] = at(way.fraction, MOVED[1] + 4);
  const [ex, ey] = at(way.fraction, LANES[0] - 10);
  marker.append(
    svg("title", {}, `The key is at ${percent(way.fraction)} of the ring`),
    svg("path", { d: segment(first, last, ...BAND), class: "arc" }),
    svg("path", { d: `M${x} ${y}L${ex} ${ey}`, class: "line" }),
    svg("circle", { cx: x, cy: y, r: 5.5 }),
  );
}

function explanation(layout) {
  const { length } = layout.points;
  const nodes = layout.virtual_nodes > length ? `${number(length)} of ${number(layout.virtual_nodes)}` : number(length);
  return `The band is ${number(layout.partitions)} partitions in the colours of their owners; the lanes inside are ${nodes} virtual nodes; the line outside is what the last change moved.`;
}

/** The runs of partitions of each shard, as [first, end]. */
function owned({ arcs, partitions, shards }) {
  const runs = shards.map(() => []);
  arcs.forEach(([first, shard], index) => runs[shard].push([first, arcs[index + 1]?.[0] ?? partitions]));
  return runs;
}

const count = (runs) => runs.reduce((sum, [first, end]) => sum + end - first, 0);

const share = (layout, name, runs) => `${name} owns ${number(count(runs))} of ${plural(layout.partitions, "partition")}`;

const segmentOf = ({ partitions }, radii) => ([first, end]) => segment(first / partitions, end / partitions, ...radii);

function shape(name, parts, title) {
  return svg("path", { d: parts.join(""), class: colour(name), "data-shard": name }, svg("title", {}, title));
}

function lanes({ points, shards }) {
  const width = Math.min(LANE_MAX, (LANES[1] - LANES[0]) / shards.length);
  const ticks = shards.map(() => []);
  for (const [fraction, shard] of points) {
    const outer = LANES[1] - shard * width;
    ticks[shard].push(`M${at(fraction, outer).join(" ")}L${at(fraction, outer - 0.72 * width).join(" ")}`);
  }
  return shards.map((name, index) => shape(name, ticks[index], `The virtual nodes of ${name}`));
}

function moved(layout) {
  const owners = new Array(layout.partitions);
  layout.arcs.forEach(([first, shard], index) => owners.fill(shard, first, layout.arcs[index + 1]?.[0]));
  const parts = layout.shards.map(() => []);
  for (const [first, length] of layout.moved) {
    for (let partition = first; partition < first + length; partition += 1) {
      parts[owners[partition]].push(segmentOf(layout, MOVED)([partition, partition + 1]));
    }
  }
  return layout.shards.map((name, index) => shape(name, parts[index], `What ${name} took over at the last change`));
}

function legend(layout, runs) {
  const items = layout.shards.map((name, index) => {
    const part = html("span", {}, percent(count(runs[index]) / layout.partitions));
    const title = `Show only ${name} on the ring`;
    const button = html("button", { type: "button", class: colour(name), "aria-pressed": "false", title }, name, " ", part);
    button.addEventListener("click", () => only(button.getAttribute("aria-pressed") === "true" ? null : name));
    return html("li", {}, button);
  });
  document.getElementById("legend").replaceChildren(...items);
}

/** Show one shard's part of the ring, or all. */
function only(name) {
  document.querySelectorAll("#legend button").forEach((button, index) => {
    button.setAttribute("aria-pressed", String(shown.shards[index] === name));
  });
  for (const path of document.querySelectorAll("#ring [data-shard]")) {
    path.classList.toggle("dimmed", name !== null && path.dataset.shard !== name);
  }
}

/** The point at a fraction of the ring and a radius. */
function at(fraction, radius) {
  const angle = 2 * Math.PI * fraction;
  return [(radius * Math.sin(angle)).toFixed(2), (-radius * Math.cos(angle)).toFixed(2)];
}

/** The path of a piece of a band, between two fractions of the ring. */
function segment(from, to, inner, outer) {
  // An arc of a path cannot be a whole circle, and beyond a half it needs a flag.
  if (to - from > 0.5) return segment(from, (from + to) / 2, inner, outer) + segment((from + to) / 2, to, inner, outer);
  const [a, b, c, d] = [at(from, outer), at(to, outer), at(to, inner), at(from, inner)].map((point) => point.join(" "));
  return `M${a}A${outer} ${outer} 0 0 1 ${b}L${c}A${inner} ${inner} 0 0 0 ${d}Z`;
}
