// The field for a key: its value as text, and its way through the cluster.

import { colour } from "./colours.js";
import { microseconds, number, percent, plural } from "./figures.js";
import { mark, placed } from "./ring.js";
import { html, say } from "./svg.js";
import { read, tokenForm } from "./token.js";

const SHOWN = 32 * 1024; // bytes of a value
const PATIENCE = 10_000; // milliseconds: the router gives up earlier, so that whoever is silent for longer is not there
const SOON = 300; // within which an answer is usually there
const UNAUTHORIZED = 401;
const NOT_FOUND = 404;
const UNAVAILABLE = 503;

let asked = 0;
let named = null; // fulfilled when the table has named the shards
let about = null; // the key of which something is shown
let drawn = null; // what /explain said of the key that is shown
let unanswered = null; // the key that the cluster could not answer for
let changes = 0; // of the ring, since the page was opened

/**
 * Take keys at once, by the field or by the part of the address behind #, and ask for them when `table` is fulfilled:
 * shards get their colours in the order in which they are first named, which is to be the table's.
 */
export function startLookups(table) {
  named = table;
  const field = document.getElementById("key");
  const form = document.getElementById("ask");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const hash = `#${encodeURIComponent(field.value.trim())}`;
    if (location.hash === hash) lookUp(field.value.trim());
    else location.hash = hash;
  });
  const follow = () => {
    field.value = written(location.hash.slice(1));
    lookUp(field.value);
  };
  addEventListener("hashchange", follow);
  // A form that is sent before this script has come goes nowhere: the page's policy allows none to be sent.
  form.querySelector("button").disabled = false;
  if (location.hash.length > 1) follow();
}

function written(hash) {
  try {
    return decodeURIComponent(hash).trim();
  } catch {
    return hash;
  }
}

async function lookUp(key) {
  asked += 1;
  const turn = asked;
  const before = changes;
  drawn = null;
  unanswered = null;
  const show = (way, ...parts) => {
    // An answer that comes after the next question is not wanted any more.
    if (turn !== asked) return;
    clearTimeout(waiting);
    about = key;
    drawn = way;
    mark(way);
    document.getElementById("result").replaceChildren(...parts);
  };
  // What is shown of another key must not be taken for the answer about this one.
  const waiting = setTimeout(() => about !== key && show(null, html("p", { class: "hint" }, "Asking the router …")), SOON);
  const later = () => {
    if (turn === asked) unanswered = key;
  };
  if (!key) {
    show(null);
    return;
  }
  try {
    await named;
    const explained = await explain(key);
    if (!explained.ok) {
      show(null, ...(await refused(explained, key)));
      if (explained.status === UNAVAILABLE) later();
      return;
    }
    const way = await explained.json();
    const answer = await read(said(key), {}, AbortSignal.timeout(PATIENCE));
    show(way, steps(way), ...(answer.ok ? [await value(answer)] : notHere(answer) ? [found(way)] : await refused(answer, key)));
    if (answer.status === UNAVAILABLE) later();
    // While the value was on its way, which it is for longest when its shard is lost, there was no way to draw again.
    if (changes !== before) drawAgain();
  } catch {
    show(null, html("p", { class: "refusal" }, "The router cannot be reached; asking again in a moment."));
    later();
  }
}

/** A key as a part of a path. Dots alone lead elsewhere, percent-encoded too: they get to the router with a space behind them. */
const said = (key) => (/^\.+$/.test(key) ? `${key}%20` : encodeURIComponent(key));

/** Ask again for a key that could not be answered, because the cluster was not there yet. */
export function askAgain() {
  if (unanswered !== null) lookUp(unanswered);
}

const explain = (key) => read(`explain/${said(key)}`, { Accept: "application/json" }, AbortSignal.timeout(PATIENCE));

/** The ring has changed: draw the key's way again, and say meanwhile that it is of the ring before. */
export function followTopology() {
  changes += 1;
  drawAgain();
}

async function drawAgain() {
  const way = drawn;
  const change = changes;
  if (way === null) return;
  const list = document.querySelector("#result .way");
  list.classList.add("old");
  list.setAttribute("aria-label", "The key's way before the ring changed");
  document.getElementById("marker").classList.add("old");
  say("ring-way", `${placed(way)} at epoch ${way.epoch}`);
  try {
    const explained = await explain(way.key);
    if (!explained.ok) return;
    const told = await explained.json();
    // Of two changes the later one counts, whichever answer comes first.
    if (drawn !== way || changes !== change) return;
    drawn = told;
    mark(drawn);
    document.querySelector("#result .way").replaceWith(steps(drawn));
  } catch {
    // The way stays marked as that of the ring before, until the next change or question.
  }
}

/** Whether keys are answered at another address: here is only the page, and no 404 that is about the dataset. */
const notHere = (answer) => answer.status === NOT_FOUND && !answer.headers.has("Ringkv-Missing");

/** What the way tells of a value that is not to be had here. */
const found = (way) =>
  html("p", { class: "hint" }, way.found ? `The dataset has it: ${plural(way.size, "byte")}, which are told where keys are answered, and not here.` : "The dataset does not have it.");

/** What the router says instead of a value, in its own words, and a field for the token if it is that. */
async function refused(answer, key) {
  const words = html("p", { class: "refusal" }, html("b", {}, String(answer.status)), ` ${(await answer.text()).trim()}`);
  return answer.status === UNAUTHORIZED ? [words, tokenForm(() => lookUp(key))] : [words];
}

/** key → position → partition → shard, with the time of each step. */
function steps(way) {
  const took = way.microseconds;
  const inside = Object.values(took.shard).reduce((sum, time) => sum + time, 0);
  const owners = way.owners.map((owner) => owner.name);
  const others = owners.filter((name) => name !== way.shard);
  return html(
    "ol",
    { class: "way", "aria-label": "The key's way" },
    step("key", way.key, microseconds(took.parse)),
    step("position", `${percent(way.fraction)} of the ring`, `${microseconds(took.position)}, ${way.position}`),
    step("partition", `${number(way.partition)} of ${number(way.partitions)}`, microseconds(took.route)),
    step(
      "shard",
      html("span", { class: `name ${colour(way.shard)}` }, way.shard),
      `${microseconds(took.round_trip)} there and back, ${microseconds(inside)} of it inside${others.length ? `; also on ${others.join(", ")}` : ""}`,
    ),
  );
}

const step = (name, what, note) => html("li", {}, html("span", { class: "step" }, name), html("b", {}, what), html("small", {}, note));

/** A value, or its beginning where it is long. */
async function value(answer) {
  const [start, size] = await beginning(answer);
  const [text, note] = readable(start);
  const notes = [plural(size, "byte")];
  if (start.length < size) notes.push(`the first ${number(start.length)} are shown`);
  if (note) notes.push(note);
  return html("figure", {}, html("figcaption", {}, notes.join("; ")), html("pre", { tabindex: "0", "aria-label": "Value" }, text));
}

/** The first bytes of an answer, and how many it has. */
async function beginning(answer) {
  const reader = answer.body.getReader();
  const start = new Uint8Array(SHOWN);
  let have = 0;
  while (have < SHOWN) {
    const { done, value: chunk } = await reader.read();
    if (done) break;
    const part = chunk.subarray(0, SHOWN - have);
    start.set(part, have);
    have += part.length;
  }
  await reader.cancel();
  return [start.subarray(0, have), Number(answer.headers.get("Content-Length"))];
}

/** Bytes as text, and a remark about them, if they are no text. */
function readable(start) {
  try {
    // `stream`: a character may be cut at the end.
    return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(start, { stream: true }), ""];
  } catch {
    const shown = Array.from(start, (byte) => (byte === 92 ? "\\\\" : byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`));
    return [shown.join(""), "not UTF-8: what is not ASCII is shown as \\xNN"];
  }
}
