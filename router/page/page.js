// Asks the router once a second how the cluster is, and shows it.

import { drawChart, KEPT } from "./chart.js";
import { colour } from "./colours.js";
import { age, between, bytes, duration, elapsed, failures, growth, lookups, number, plural, quantile, rate, total } from "./figures.js";
import { startLookups } from "./lookup.js";
import { drawRing, movedPartitions } from "./ring.js";
import { html, say, svg } from "./svg.js";

const INTERVAL = 1000; // milliseconds
const PATIENCE = 3000;
const WINDOW = 5; // seconds over which rates and quantiles of the moment are taken
const CHANGES = 8;

const answers = []; // { at, stats }, the oldest first
const samples = []; // { at, rate }
let layout = null;
let drawnEpoch = null;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${answer.status} ${(await answer.text()).trim()}`);
  return answer.json();
}

async function follow() {
  for (;;) {
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    const began = performance.now();
    try {
      const stats = await ask("stats");
      show(stats, performance.now() / 1000);
      await followRing(stats);
      connected(stats);
    } catch {
      disconnected();
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, INTERVAL - (performance.now() - began))));
  }
}

function connected(stats) {
  document.body.classList.remove("stale");
  document.getElementById("connection").dataset.state = stats.dataset ? "live" : "waiting";
  say("connection", stats.dataset ? "Live" : "No shard yet");
}

function disconnected() {
  say("connection", "The router cannot be reached; trying again");
  document.getElementById("connection").dataset.state = "lost";
  document.body.classList.add("stale");
  // What answers next may be another process, whose counters have nothing to do with these.
  answers.length = 0;
  samples.push({ at: performance.now() / 1000, rate: null, failed: 0 });
}

/** Draw the ring again when it has changed. */
async function followRing(stats) {
  if (!stats.dataset || (stats.epoch === drawnEpoch && stats.ring === layout?.ring)) return;
  const before = layout;
  layout = await ask("ring/layout");
  drawRing(layout);
  // Workers of one router count epochs of their own; what counts here is that this one is drawn.
  drawnEpoch = stats.epoch;
  if (before) note(`epoch ${layout.epoch}: ${number(movedPartitions(layout))} of ${plural(layout.partitions, "partition")} moved`);
}

function show(stats, at) {
  const last = answers.at(-1);
  answers.push({ at, stats });
  while (answers.length > 2 && at - answers[1].at >= WINDOW) answers.shift();
  const first = answers[0].stats;
  const passed = elapsed(first, stats);
  sample(last, { at, stats });
  about(stats);
  showLoad(first, stats, passed);
  showShards(first, stats, passed);
  if (last) noteStates(last.stats, stats);
}

/** Add a point to the line, or a gap where the page has not looked, or the router was started again. */
function sample(last, { at, stats }) {
  const passed = last ? elapsed(last.stats, stats) : null;
  const known = passed !== null && at - last.at < 3 * WINDOW;
  samples.push({ at, rate: known ? growth(lookups(last.stats), lookups(stats)) / passed : null, failed: known ? growth(failures(last.stats), failures(stats)) : 0 });
  while (at - samples[0].at > KEPT) samples.shift();
  drawChart(samples);
}

function about(stats) {
  const dataset = html("code", { title: stats.dataset ?? "" }, (stats.dataset ?? "none").slice(0, 12));
  const rest = [
    plural(stats.partitions ?? 0, "partition"),
    plural(stats.replicas ?? 0, "replica"),
    plural(stats.workers, "worker"),
    bytes(stats.bytes),
    `up ${age(stats.uptime)}`,
    `version ${stats.version}`,
  ];
  document.getElementById("about").replaceChildren("dataset ", dataset, ...rest.map((text) => html("span", {}, text)));
  say("ring-keys", number(stats.keys));
  say("ring-epoch", `keys, epoch ${stats.epoch}`);
}

function showLoad(first, stats, passed) {
  const counts = between(first.durations, stats.durations);
  say("rate", passed ? rate(growth(lookups(first), lookups(stats)) / passed) : "–");
  say("p50", duration(quantile(stats.bounds, counts, 0.5)));
  say("p99", duration(quantile(stats.bounds, counts, 0.99)));
  say("in-flight", number(stats.in_flight));
  say("waiting", number(stats.waiting));
  const failed = total(samples.map((point) => point.failed));
  say("errors", number(failed));
  document.getElementById("errors").classList.toggle("bad", failed > 0);
}

function showShards(first, stats, passed) {
  const earlier = new Map(first.shards.map((shard) => [shard.name, shard.durations]));
  const rows = stats.shards.map((shard) => {
    // A shard that has just come has served nothing before.
    const counts = between(earlier.get(shard.name), shard.durations);
    return { shard, counts, rate: passed && earlier.has(shard.name) ? total(counts) / passed : null };
  });
  const most = Math.max(...rows.map((row) => row.rate ?? 0), 1);
  const body = document.getElementById("shards");
  // The rows stay the same elements, so that a selection, the focus and a screen reader's place in them stay too.
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((row, at) => fill(body.rows[at] ?? body.appendChild(emptyRow()), row, most, stats.bounds));
  const kept = Object.entries(stats.kept_out).map(([address, reason]) => html("li", {}, html("code", {}, address), ` is kept out: ${reason}`));
  document.getElementById("kept-out").replaceChildren(...kept);
}

const COLUMNS = ["Shard", "State", "Requests/s", "p50", "p99", "Keys", "Bytes", "Partitions", "Address"];

function emptyRow() {
  const cells = COLUMNS.map((label, at) => html(at ? "td" : "th", { role: at ? "cell" : "rowheader", "data-label": label }, html("span")));
  cells[0].setAttribute("scope", "row");
  cells[2].prepend(svg("svg", { class: "bar", "aria-hidden": "true" }, svg("rect", { height: "100%" })));
  return html("tr", { role: "row" }, ...cells);
}

function fill(row, { shard, counts, rate: perSecond }, most, bounds) {
  const name = shard.name || "not there yet";
  row.dataset.state = shard.state;
  row.className = shard.name ? colour(shard.name) : "";
  const texts = [
    name,
    shard.state,
    perSecond === null ? "–" : rate(perSecond),
    duration(quantile(bounds, counts, 0.5)),
    duration(quantile(bounds, counts, 0.99)),
    number(shard.keys),
    bytes(shard.bytes),
    number(shard.partitions),
    shard.address,
  ];
  texts.forEach((text, at) => {
    const place = row.cells[at].lastElementChild;
    if (place.textContent !== text) place.textContent = text;
  });
  row.querySelector("rect").setAttribute("width", `${(100 * (perSecond ?? 0)) / most}%`);
}

/** Note which shards have come, gone, or changed their state. */
function noteStates(before, after) {
  const states = (stats) => new Map(stats.shards.filter((shard) => shard.name).map((shard) => [shard.name, shard.state]));
  const [was, is] = [states(before), states(after)];
  for (const [name, state] of is) if (was.get(name) !== state) note(`${name} is ${state}`);
  for (const name of was.keys()) if (!is.has(name)) note(`${name} is gone`);
}

function note(text) {
  const changes = document.getElementById("changes");
  changes.querySelector(".hint")?.remove();
  const now = new Date();
  changes.prepend(html("li", {}, html("time", { datetime: now.toISOString() }, now.toLocaleTimeString("en-GB")), ` ${text}`));
  while (changes.children.length > CHANGES) changes.lastElementChild.remove();
}

addEventListener("resize", () => drawChart(samples));
startLookups();
follow();
