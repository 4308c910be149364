// The router's event log as lists: of everything, and of one shard.

import { clock, number } from "./figures.js";
import { arrange, html } from "./svg.js";

const SHOWN = 8;

let events = [];
let all = false;

/** Ask for the log. */
export async function followEvents(ask) {
  events = (await ask("events")).events;
}

export function startEvents() {
  const more = document.getElementById("more-events");
  more.addEventListener("click", () => {
    all = !all;
    showEvents();
  });
}

/** Show the latest ones, or all. */
export function showEvents() {
  const more = document.getElementById("more-events");
  more.hidden = events.length <= SHOWN;
  more.textContent = all ? `Show the latest ${SHOWN}` : `Show all ${number(events.length)}`;
  fill(document.getElementById("events"), all ? events : events.slice(-SHOWN));
}

/** Show the latest ones of one shard. */
export function showEventsOf(shard) {
  fill(document.getElementById("shard-events"), events.filter((event) => event.shard === shard).slice(-SHOWN));
}

/** The newest first. Items that stay are the same elements: a screen reader hears only of new ones. */
function fill(list, shown) {
  const workers = new Set(events.map((event) => event.worker)).size > 1;
  const items = new Map([...list.children].map((item) => [item.dataset.event, item]));
  const wanted = shown.map((event) => {
    const id = `${event.at} ${event.worker} ${event.text}`;
    return items.get(id) ?? item(id, event, workers);
  });
  if (!wanted.length) wanted.push(html("li", { class: "hint" }, "None yet."));
  arrange(list, wanted.reverse());
}

function item(id, { at, kind, text, worker }, workers) {
  const time = html("time", { datetime: at, title: at }, clock(Date.parse(at) / 1000));
  const what = html("span", { class: "text" }, text);
  if (workers) what.append(html("small", {}, ` ${worker}`));
  return html("li", { "data-event": id, "data-kind": kind }, time, html("span", { class: "kind" }, kind), what);
}
