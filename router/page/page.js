// Asks the router once a second how the cluster is, and shows it.

import { Chart } from "./chart.js";
import { followEvents, showEvents, startEvents } from "./events.js";
import { age, between, bytes, duration, elapsed, failures, growth, lookups, number, plural, quantile, rate } from "./figures.js";
import { drawHistory, followHistory, interrupt } from "./history.js";
import { followHot, showHits } from "./hot.js";
import { askAgain, followTopology, startLookups } from "./lookup.js";
import { drawRing, startRing } from "./ring.js";
import { resizeShard, showShardHistory, startShard } from "./shard.js";
import { showRecentRates, showShards } from "./shards.js";
import { html, say } from "./svg.js";
import { followVersions } from "./versions.js";

const INTERVAL = 1000; // milliseconds
const PATIENCE = 3000;
const WINDOW = 5; // seconds over which rates and quantiles of the moment are taken, and between two looks at the past

const answers = []; // { at, stats }, the oldest first
let layout = null;
let drawnEpoch = null;
let seen = null; // what of an answer changes only together with an event
let unsettled = false;
let looked = -Infinity; // when the past was last asked for
let uptime = 0;
let span = 3600;
let named = null; // tells those who wait for it that the table and the ring have named the shards

const rateChart = new Chart(document.getElementById("rate-chart"), {
  label: "Lookups per second",
  series: [
    { name: "lookups/s", key: "requests", kind: "area" },
    { name: "errors/s", key: "errors", kind: "bad" },
  ],
  write: rate,
  least: 1,
});
const latencyChart = new Chart(document.getElementById("latency-chart"), {
  label: "Latency",
  series: [
    { name: "p99", key: "p99", kind: "faint" },
    { name: "p50", key: "p50", kind: "line" },
  ],
  write: duration,
  least: 1e-4,
});

/** The JSON that a path answers with. Over a slow line an hour of samples takes its time: what ends it is silence. */
async function ask(path) {
  const silence = new AbortController();
  let timer = null;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), PATIENCE);
  };
  heard();
  try {
    const answer = await fetch(path, { cache: "no-store", signal: silence.signal });
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      heard();
      text += decoder.decode(part.value, { stream: true });
    }
    if (!answer.ok) throw new Error(`${answer.status} ${text.trim()}`);
    return JSON.parse(text);
  } finally {
    clearTimeout(timer);
  }
}

async function follow() {
  await look();
  for (;;) {
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      answers.length = 0; // the mean of hours is no rate of the moment
    }
    const began = performance.now();
    await look();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, INTERVAL - (performance.now() - began))));
  }
}

async function look() {
  const at = performance.now() / 1000;
  try {
    const stats = await ask("stats");
    show(stats, at);
    await followVersions(ask);
    await followRing(stats);
    named();
    if (stats.dataset) askAgain();
    await followPast(stats, at);
    connected(stats);
  } catch {
    disconnected();
    named();
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
  looked = -Infinity;
}

/** Draw the ring again when it has changed, and the way of the key with it. */
async function followRing(stats) {
  if (!stats.dataset || (stats.epoch === drawnEpoch && stats.ring === layout?.ring)) return;
  const first = layout === null;
  layout = await ask("ring/layout");
  drawRing(layout);
  // Workers of one router count epochs of their own; what counts here is that this one is drawn.
  drawnEpoch = stats.epoch;
  if (!first) followTopology();
}

/** Ask for samples when there may be new ones, and for events also as soon as something has changed. */
async function followPast(stats, at) {
  const states = stats.shards.map((shard) => `${shard.name} ${shard.state}`);
  const now = JSON.stringify([stats.epoch, stats.ring, states, stats.kept_out]);
  const due = at - looked >= WINDOW;
  const changed = now !== seen;
  // Also a second after a change, as its last events may come later than the change itself.
  if (due || changed || unsettled) {
    await followEvents(ask);
    showEvents();
  }
  if (due) {
    await followHistory(ask);
    await followHot(PATIENCE);
    looked = at;
  }
  if (due || changed || unsettled) showPast();
  seen = now;
  unsettled = changed;
}

function showPast() {
  drawHistory(rateChart, span);
  drawHistory(latencyChart, span);
  showRecentRates();
  showShardHistory(span);
}

function show(stats, at) {
  // A little less may also be the answer of another worker, which knows the others' figures of a moment ago.
  if (stats.uptime < uptime - 1) interrupt();
  uptime = stats.uptime;
  answers.push({ at, stats });
  while (answers.length > 2 && at - answers[1].at >= WINDOW) answers.shift();
  const first = answers[0].stats;
  const passed = elapsed(first, stats);
  about(stats);
  showLoad(first, stats, passed);
  showShards(first, stats, passed);
  showHits(first, stats);
}

function about(stats) {
  const facts = [
    `dataset ${(stats.dataset ?? "none").slice(0, 12)}`,
    plural(stats.partitions ?? 0, "partition"),
    plural(stats.replicas ?? 0, "replica"),
    plural(stats.workers, "worker"),
    bytes(stats.bytes),
    `up ${age(stats.uptime)}`,
    `version ${stats.version}`,
  ];
  const list = document.getElementById("about");
  facts.forEach((fact, at) => {
    const item = list.children[at] ?? list.appendChild(html("li"));
    if (item.textContent !== fact) item.textContent = fact;
  });
  list.firstElementChild.title = stats.dataset ?? "";
  say("ring-keys", number(stats.keys));
  say("ring-epoch", `keys, epoch ${stats.epoch}`);
}

function showLoad(first, stats, passed) {
  const counts = between(first.durations, stats.durations);
  const failed = passed ? growth(failures(first), failures(stats)) / passed : 0;
  say("rate", passed ? rate(growth(lookups(first), lookups(stats)) / passed) : "–");
  say("p50", duration(quantile(stats.bounds, counts, 0.5)));
  say("p99", duration(quantile(stats.bounds, counts, 0.99)));
  say("in-flight", number(stats.in_flight));
  say("waiting", number(stats.waiting));
  say("errors", rate(failed));
  document.getElementById("errors").classList.toggle("bad", failed > 0);
}

for (const button of document.querySelectorAll("#spans button")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.span);
    for (const one of document.querySelectorAll("#spans button")) one.setAttribute("aria-pressed", String(one === button));
    showPast();
  });
}

addEventListener("resize", () => {
  rateChart.paint();
  latencyChart.paint();
  resizeShard();
});
startRing();
startShard();
startEvents();
startLookups(
  new Promise((resolve) => {
    named = resolve;
  }),
);
follow();
