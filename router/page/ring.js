// The ring as a picture. Position 0 is at the top, and positions grow clockwise.
//
//   outermost   what the last change moved, which fades
//   bands       the partitions in the colours of their owners: a band a replica, the preferred owners outside
//   lanes       the virtual nodes, a lane for each shard

import { colour } from "./colours.js";
import { number, percent, plural } from "./figures.js";
import { choice, choose, onChoice } from "./selection.js";
import { arrange, html, say, svg } from "./svg.js";

const MOVED = [282, 290];
const BANDS = [230, 276];
const LANES = [172, 222];
const LANE_MAX = 12;
const BETWEEN = 3; // between two bands
const NAME_MAX = 18; // characters of a shard's name in the ring: its end tells more, and all of it stands beside
const SEPARATED = 512; // arcs up to which a gap between them can be seen

let shown = null; // the layout that is drawn
let owned = []; // of each band the runs of partitions of each shard, as [first, end]

/** Let shards be chosen in the ring, and show the one that is. */
export function startRing() {
  const ring = document.getElementById("ring");
  const shardAt = (event) => event.target.closest("[data-shard]")?.dataset.shard ?? null;
  ring.addEventListener("pointerover", (event) => highlight(shardAt(event) ?? choice()));
  ring.addEventListener("pointerleave", () => highlight(choice()));
  ring.addEventListener("click", (event) => {
    if (shardAt(event) !== null) choose(shardAt(event));
  });
  onChoice(highlight);
}

/** Draw a layout: the answer of /ring/layout. */
export function drawRing(layout) {
  shown = layout;
  owned = layout.bands.map((band) => runsOf(band, layout));
  const arcs = document.getElementById("arcs");
  arcs.classList.toggle("separated", layout.bands[0].length <= SEPARATED);
  const titles = layout.shards.map(title);
  arcs.replaceChildren(
    ...owned.flatMap((runs, rank) => layout.shards.map((name, at) => shape(name, runs[at].map(segmentOf(lane(BANDS, rank))), titles[at]))),
  );
  document.getElementById("nodes").replaceChildren(...nodes(layout));
  document.getElementById("moved").replaceChildren(...moved(layout));
  say("ring-title", `The ring at epoch ${layout.epoch}: ${titles.join("; ")}`);
  say("explained", explanation(layout));
  legend(layout);
  highlight(choice());
}

/** How many partitions a shard holds in each band. */
export function holding(name) {
  const at = shown?.shards.indexOf(name) ?? -1;
  return at < 0 ? [] : owned.map((runs) => count(runs[at]));
}

/** Where a key is, in as few words as there is room for inside the lanes. */
export const placed = (way) => `partition ${number(way.partition)}, ${way.shard.length > NAME_MAX ? `…${way.shard.slice(1 - NAME_MAX)}` : way.shard}`;

/** Mark a key's position, with a line to its arc; null takes the mark away. */
export function mark(way) {
  const marker = document.getElementById("marker");
  marker.replaceChildren();
  marker.classList.remove("old");
  say("ring-way", way ? placed(way) : "");
  if (!way) return;
  const [first, last] = [way.partition / way.partitions, (way.partition + 1) / way.partitions];
  const [x, y] = at(way.fraction, MOVED[1] + 4);
  const [ex, ey] = at(way.fraction, LANES[0] - 10);
  marker.append(
    svg("title", {}, `The key is at ${percent(way.fraction)} of the ring`),
    svg("path", { d: segment(first, last, ...BANDS), class: "arc" }),
    svg("path", { d: `M${x} ${y}L${ex} ${ey}`, class: "line" }),
    svg("circle", { cx: x, cy: y, r: 5.5 }),
  );
}

function explanation(layout) {
  const { length } = layout.points;
  const drawn = layout.virtual_nodes > length ? `${number(length)} of ${number(layout.virtual_nodes)}` : number(length);
  const partitions = `${number(layout.partitions)} partitions in the colours of their owners`;
  const bands = layout.bands.length > 1 ? `Each of the ${layout.bands.length} bands is one replica of the ${partitions}, the preferred ones outside` : `The band is ${partitions}`;
  return `${bands}; the lanes inside are ${drawn} virtual nodes; the line outside is what the last change moved.`;
}

/** The runs of partitions of each shard in one band. */
function runsOf(band, { partitions, shards }) {
  const runs = shards.map(() => []);
  band.forEach(([first, shard], index) => runs[shard].push([first, band[index + 1]?.[0] ?? partitions]));
  return runs;
}

const count = (runs) => runs.reduce((sum, [first, end]) => sum + end - first, 0);

function title(name) {
  const held = holding(name);
  const all = held.reduce((sum, one) => sum + one, 0);
  const preferred = held.length > 1 ? `, ${number(held[0])} of them first` : "";
  return `${name} owns ${number(all)} of ${plural(shown.partitions, "partition")}${preferred}`;
}

/** The radii of one of the bands, or of the lines outside, that share a space: the first is the outermost. */
function lane([inner, outer], rank) {
  const { length } = shown.bands;
  const gap = length > 1 ? Math.min(BETWEEN, (outer - inner) / (3 * length)) : 0;
  const width = (outer - inner - gap * (length - 1)) / length;
  const top = outer - rank * (width + gap);
  return [top - width, top];
}

const segmentOf = (radii) => ([first, end]) => segment(first / shown.partitions, end / shown.partitions, ...radii);

function shape(name, parts, label) {
  return svg("path", { d: parts.join(""), class: colour(name), "data-shard": name }, svg("title", {}, label));
}

function nodes({ points, shards }) {
  const width = Math.min(LANE_MAX, (LANES[1] - LANES[0]) / shards.length);
  const ticks = shards.map(() => []);
  for (const [fraction, shard] of points) {
    const outer = LANES[1] - shard * width;
    ticks[shard].push(`M${at(fraction, outer).join(" ")}L${at(fraction, outer - 0.72 * width).join(" ")}`);
  }
  return shards.map((name, index) => shape(name, ticks[index], `The virtual nodes of ${name}`));
}

function moved(layout) {
  const parts = layout.shards.map(() => []);
  layout.moved.forEach((runs, rank) => {
    const draw = segmentOf(lane(MOVED, rank));
    const owners = new Array(layout.partitions);
    const band = layout.bands[rank];
    band.forEach(([first, shard], index) => owners.fill(shard, first, band[index + 1]?.[0]));
    for (const [first, length] of runs) {
      for (let partition = first; partition < first + length; partition += 1) parts[owners[partition]].push(draw([partition, partition + 1]));
    }
  });
  return layout.shards.map((name, index) => shape(name, parts[index], `What ${name} took over at the last change`));
}

function legend(layout) {
  const list = document.getElementById("legend");
  const known = new Map([...list.children].map((item) => [item.firstElementChild.dataset.shard, item]));
  const items = layout.shards.map((name) => known.get(name) ?? entry(name));
  items.forEach((item, at) => {
    const held = holding(layout.shards[at]).reduce((sum, one) => sum + one, 0);
    item.querySelector("span").textContent = percent(held / layout.partitions);
  });
  arrange(list, items);
}

function entry(name) {
  const button = html("button", { type: "button", class: colour(name), "data-shard": name, "aria-haspopup": "dialog" }, name, " ", html("span"));
  button.addEventListener("click", () => choose(choice() === name ? null : name));
  button.addEventListener("pointerenter", () => highlight(name));
  button.addEventListener("pointerleave", () => highlight(choice()));
  return html("li", {}, button);
}

/** Show one shard's part of the ring, or all. */
function highlight(name) {
  for (const button of document.querySelectorAll("#legend button")) button.setAttribute("aria-pressed", String(button.dataset.shard === choice()));
  // A shard that has left the ring has no part that could be shown.
  const one = shown?.shards.includes(name) ? name : null;
  for (const path of document.querySelectorAll("#ring [data-shard]")) path.classList.toggle("dimmed", one !== null && path.dataset.shard !== one);
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
