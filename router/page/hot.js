// The table of the keys that are asked for most, and the share of requests that needed no shard.

import { bytes, growth, number, percent, plural, rate } from "./figures.js";
import { html, say } from "./svg.js";
import { current, read } from "./token.js";

const COLUMNS = ["Key", "Requests/s", "Answered by"];
const SHOWN = 8;

let refused; // the token, null for none, for which the router tells no keys: it is not asked with that again

/** Ask for them, for so many milliseconds, and show them. */
export async function followHot(patience) {
  const token = current(); // another one may be told meanwhile
  if (token === refused) return;
  const answer = await read("hot", {}, AbortSignal.timeout(patience));
  if (answer.status === 401) {
    refused = token;
    show({ seconds: 0, keys: [] }); // it may have counted until now
  } else if (answer.ok) show(await answer.json());
}

function show({ seconds, keys }) {
  const shown = keys.slice(0, SHOWN);
  const body = document.getElementById("hot-keys");
  // The rows stay the same elements, as those of the shards do.
  while (body.rows.length > shown.length) body.lastElementChild.remove();
  shown.forEach((key, at) => fill(body.rows[at] ?? body.appendChild(emptyRow()), key, seconds));
  document.getElementById("hot-table").hidden = !shown.length;
}

/** Show what share of the requests between two answers of /stats needed no shard, and who else owns hot partitions. */
export function showHits(first, stats) {
  const [asked, hits] = ["requests", "hits"].map((name) => growth(first.counters[name], stats.counters[name]));
  const kept = `The router keeps ${plural(stats.hot_keys, "value")} at hand, ${bytes(stats.hot_bytes)}`;
  if (!stats.hot_keys) say("hot-hits", "No key is asked for again and again.");
  else say("hot-hits", asked ? `${kept}: ${percent(hits / asked)} of lookups need no shard.` : `${kept}.`);
  const extra = Object.entries(stats.extra_owners).map(([partition, names]) => `Partition ${number(Number(partition))} is hot, and also owned by ${names.join(" and ")}.`);
  say("hot-partitions", extra.join(" "));
}

function emptyRow() {
  const cells = COLUMNS.map((label, at) => html(at ? "td" : "th", { role: at ? "cell" : "rowheader", "data-label": label }));
  cells[0].setAttribute("scope", "row");
  return html("tr", { role: "row" }, ...cells);
}

function fill(row, { key, requests, kept }, seconds) {
  const texts = [key, rate(requests / Math.max(1, seconds)), kept ? "the router" : "its shard"];
  texts.forEach((text, at) => {
    if (row.cells[at].textContent !== text) row.cells[at].textContent = text;
  });
}
