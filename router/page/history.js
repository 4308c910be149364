// The samples of /history, which the router has taken since long before the page was opened.

const KEPT = 3600; // seconds
const NOTHING = { requests: null, errors: null, p50: null, p99: null };

let samples = [];
let interval = 5;

/** Ask for what is new. */
export async function followHistory(ask) {
  const told = await ask(`history?since=${samples.at(-1)?.at ?? 0}`);
  interval = told.interval;
  // The router's clock was set back: what was after the time that it has now is not to hide what comes.
  if (told.samples.length && told.samples.at(-1).at < (samples.at(-1)?.at ?? 0) - interval) samples = [];
  // Another worker may have answered the last time, and have taken its sample in the same second.
  samples = [...samples, ...told.samples.filter((sample) => sample.at > (samples.at(-1)?.at ?? 0))];
  samples = samples.filter((sample) => sample.at > samples.at(-1).at - KEPT);
}

/** The router was started again: begin a new line instead of going on where the last one ended. */
export function interrupt() {
  if (samples.length) samples.push({ at: samples.at(-1).at, ...NOTHING, shards: {} });
}

/** Draw a chart of the whole router, or of one shard. */
export const drawHistory = (chart, longest, shard) => chart.draw(shard === undefined ? samples : ofShard(shard), interval, longest);

/** The samples of one shard: nothing where it could not be asked. */
const ofShard = (name) => samples.map((sample) => ({ at: sample.at, ...(sample.shards[name] ?? NOTHING) }));

/** The requests a second of one shard over the last seconds. */
export const recentRates = (name, seconds) =>
  samples.filter((sample) => sample.at > samples.at(-1).at - seconds).map((sample) => sample.shards[name]?.requests ?? null);
