// The table of shards.

import { sparkline } from "./chart.js";
import { colour, present } from "./colours.js";
import { between, duration, held, number, quantile, rate, total } from "./figures.js";
import { recentRates } from "./history.js";
import { choose } from "./selection.js";
import { showShard } from "./shard.js";
import { arrange, html, svg } from "./svg.js";

const COLUMNS = ["Shard", "State", "Requests/s", "p50", "p99", "Keys", "Bytes", "Partitions", "Address"];
const SPARK = [88, 20];
const RECENT = 900; // seconds in the little lines

/** Show what the shards have done between two answers of /stats, `passed` seconds apart. */
export function showShards(first, stats, passed) {
  present(stats.shards.map((shard) => shard.name));
  const earlier = new Map(first.shards.map((shard) => [shard.name, shard.durations]));
  const rows = stats.shards.map((shard) => {
    // A shard that has just come has served nothing before, and one that is lost serves nothing now.
    const known = passed && earlier.has(shard.name) && shard.state !== "lost";
    const counts = known ? between(earlier.get(shard.name), shard.durations) : [];
    return {
      shard,
      rate: known ? rate(total(counts) / passed) : "–",
      p50: duration(quantile(stats.bounds, counts, 0.5)),
      p99: duration(quantile(stats.bounds, counts, 0.99)),
    };
  });
  const body = document.getElementById("shards");
  // A shard's row stays the same element, so that a selection, the focus and a screen reader's place in it stay too.
  const known = new Map([...body.rows].map((row) => [row.dataset.place, row]));
  const places = rows.map(({ shard }) => known.get(placeOf(shard)) ?? emptyRow());
  arrange(body, places);
  rows.forEach((row, at) => fill(places[at], row));
  const kept = Object.entries(stats.kept_out).map(([address, reason]) => html("li", {}, html("code", {}, address), ` is kept out: ${reason}`));
  document.getElementById("kept-out").replaceChildren(...kept);
  // One that has come back elsewhere is also lost where it was.
  showShard(new Map([...rows].sort((a, b) => (a.shard.state === "lost" ? -1 : 1) - (b.shard.state === "lost" ? -1 : 1)).map((row) => [row.shard.name, row])));
}

/** Draw the little lines again. */
export function showRecentRates() {
  for (const row of document.getElementById("shards").rows) {
    const path = row.dataset.state === "lost" ? "" : sparkline(recentRates(row.dataset.shard, RECENT), ...SPARK);
    row.querySelector(".spark path").setAttribute("d", path);
  }
}

const placeOf = (shard) => `${shard.name} ${shard.address}`;

function emptyRow() {
  const cells = COLUMNS.map((label, at) => html(at ? "td" : "th", { role: at ? "cell" : "rowheader", "data-label": label }, html("span")));
  const row = html("tr", { role: "row" }, ...cells);
  const button = html("button", { type: "button", "aria-haspopup": "dialog" });
  button.addEventListener("click", () => choose(row.dataset.shard));
  cells[0].setAttribute("scope", "row");
  cells[0].replaceChildren(button);
  const [width, height] = SPARK;
  cells[2].prepend(svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, svg("path")));
  return row;
}

function fill(row, { shard, rate: perSecond, p50, p99 }) {
  row.dataset.state = shard.state;
  row.dataset.shard = shard.name;
  row.dataset.place = placeOf(shard);
  row.className = shard.name ? colour(shard.name) : "";
  row.title = shard.zone || shard.weight !== 1 ? `zone ${shard.zone || "none"}, weight ${shard.weight}` : "";
  const texts = [
    shard.name || "not there yet",
    shard.state,
    perSecond,
    p50,
    p99,
    number(shard.keys),
    held(shard),
    number(shard.partitions),
    shard.zone ? `${shard.address} in ${shard.zone}` : shard.address,
  ];
  texts.forEach((text, at) => {
    const place = row.cells[at].lastElementChild;
    if (place.textContent !== text) place.replaceChildren(...(COLUMNS[at] === "Address" ? breakable(text) : [text]));
  });
  row.cells[0].firstElementChild.disabled = !shard.name;
}

/** A path in pieces that a line may end behind, and not at any hyphen. */
const breakable = (path) => path.split(/(?<=\/)/).map((piece) => html("span", {}, piece));
