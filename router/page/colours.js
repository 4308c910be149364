// The colours of shards: each gets the first free one, and keeps it for as long as the page is open.

const COLOURS = 8; // --shard-0 to --shard-7 in page.css
const taken = new Map();

/** The class of a shard's colour. More shards than colours share them: a name always stands beside. */
export function colour(name) {
  if (!taken.has(name)) taken.set(name, taken.size % COLOURS);
  return `shard-${taken.get(name)}`;
}
