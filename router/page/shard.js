// One shard more closely: what it holds, its last hour, what has happened to it.

import { Chart } from "./chart.js";
import { colour } from "./colours.js";
import { showEventsOf } from "./events.js";
import { duration, held, number, rate } from "./figures.js";
import { drawHistory } from "./history.js";
import { holding } from "./ring.js";
import { choice, choose, onChoice } from "./selection.js";
import { say } from "./svg.js";

let charts = [];
let rows = new Map();
let longest = 3600;

export function startShard() {
  const dialog = document.getElementById("shard");
  charts = [
    new Chart(document.getElementById("shard-rate-chart"), {
      label: "Requests per second",
      series: [{ name: "requests/s", key: "requests", kind: "area" }],
      write: rate,
      least: 1,
    }),
    new Chart(document.getElementById("shard-latency-chart"), {
      label: "Latency",
      series: [
        { name: "p99", key: "p99", kind: "faint" },
        { name: "p50", key: "p50", kind: "line" },
      ],
      write: duration,
      least: 1e-4,
    }),
  ];
  document.getElementById("shard-close").addEventListener("click", () => choose(null));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && choice() !== null) choose(null);
  });
  onChoice((name) => {
    if (name === null) {
      dialog.close();
      return;
    }
    // Not modal: the ring beside it shows what the shard holds.
    if (!dialog.open) dialog.show();
    document.getElementById("shard-close").focus();
    dialog.scrollTop = 0;
    showNow();
    showPast();
  });
}

/** Take the figures of this moment: `{ shard, rate, p50, p99 }` by name. */
export function showShard(figures) {
  rows = figures;
  showNow();
}

/** Draw the last `span` seconds. */
export function showShardHistory(span) {
  longest = span;
  showPast();
}

function showNow() {
  const name = choice();
  if (name === null) return;
  const heading = document.getElementById("shard-name");
  heading.className = `name ${colour(name)}`;
  say("shard-name", name);
  const row = rows.get(name);
  const state = document.getElementById("shard-state");
  state.dataset.state = row?.shard.state ?? "lost";
  say("shard-state", row?.shard.state ?? "gone");
  say("shard-rate", row?.rate ?? "–");
  say("shard-p50", row?.p50 ?? "–");
  say("shard-p99", row?.p99 ?? "–");
  say("shard-in-flight", row ? number(row.shard.in_flight) : "–");
  // From clients of a Redis Cluster, which come without the router: it knows how many, and not how long they took.
  say("shard-direct", row?.shard.announced ? number(row.shard.direct) : "–");
  say("shard-keys", row ? number(row.shard.keys) : "–");
  say("shard-bytes", row ? held(row.shard) : "–");
  say("shard-address", row?.shard.address ?? "–");
  say("shard-partitions", row ? partitions(name, row.shard.partitions) : "–");
}

/** How many partitions a shard holds; with several replicas also in which preference: `170, of these 86 first …`. */
function partitions(name, count) {
  const bands = holding(name);
  if (bands.length < 2) return number(count);
  const ranks = ["first", "second", "third"];
  const parts = bands.map((held, rank) => `${number(held)} ${ranks[rank] ?? `${rank + 1}th`}`);
  return `${number(count)}: as owner ${parts.join(", ")}`;
}

function showPast() {
  const name = choice();
  if (name === null) return;
  for (const chart of charts) drawHistory(chart, longest, name);
  showEventsOf(name);
}

/** Draw the charts again, in another size. */
export const resizeShard = () => charts.forEach((chart) => chart.paint());
