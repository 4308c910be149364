// The colours of shards: each gets the first of those that the fewest others have, and keeps it for as long as the page is open.

const COLOURS = 8; // --shard-0 to --shard-7 in page.css
const taken = new Map();
let there = new Set();

/** Take these for the shards that there are: the colours of others are free. */
export function present(names) {
  there = new Set(names);
}

/** The class of a shard's colour. More shards than colours share them: a name always stands beside. */
export function colour(name) {
  if (!taken.has(name)) taken.set(name, first(new Array(COLOURS).fill(0)));
  there.add(name);
  return `shard-${taken.get(name)}`;
}

function first(uses) {
  for (const name of there) {
    if (taken.has(name)) uses[taken.get(name)] += 1;
  }
  return uses.indexOf(Math.min(...uses));
}
