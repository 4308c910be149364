// Which version of the data is served since when, and what the next one waits for, shard by shard.

import { clock, plural } from "./figures.js";
import { html, say } from "./svg.js";

/** Ask for it, and show it. */
export async function followVersions(ask) {
  const { served, swapping } = await ask("versions");
  // Without a catalog there are no versions, and the dataset is shown above already.
  say("served", served?.serial ? `Version ${served.serial}, published ${published(served)}, is served since ${clock(Date.parse(served.since) / 1000)}.` : "");
  showComing(swapping);
}

const published = ({ by, at }) => `${by ? `by ${by}, ` : ""}${clock(Date.parse(at) / 1000)}`;

function showComing(swapping) {
  const coming = document.getElementById("coming");
  coming.hidden = !swapping;
  if (!swapping) return;
  coming.dataset.refused = String(swapping.refused !== null);
  say("coming-text", `Version ${swapping.serial}, published ${published(swapping)}, ${fate(swapping)}`);
  const shards = swapping.waiting_for.map(({ shard, why }) => html("li", {}, html("code", {}, shard), ` ${why}`));
  const list = document.getElementById("coming-shards");
  // Only where they are others: a screen reader hears of changes.
  if (list.textContent !== shards.map((shard) => shard.textContent).join("")) list.replaceChildren(...shards);
}

function fate({ refused, waiting_for }) {
  if (refused !== null) return `is refused: ${refused}.`;
  return waiting_for.length ? `waits for ${plural(waiting_for.length, "shard")}:` : "is about to be served.";
}
