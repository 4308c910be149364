// Figures from two answers of /stats, and how they are written. Nothing here touches the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** By how much a counter has grown between two answers; 0 if it began anew. */
export const growth = (before, after) => Math.max(0, after - before);

/** How much was counted in each bucket between two answers. */
export const between = (before, after) => after.counts.map((count, at) => growth(before?.counts[at] ?? 0, count));

/** Within how many seconds this share of the requests was answered; null where there were none. */
export function quantile(bounds, counts, share) {
  const all = total(counts);
  if (!all) return null;
  const wanted = share * all;
  let below = 0;
  for (let at = 0; at < bounds.length; at += 1) {
    if (counts[at] && below + counts[at] >= wanted) {
      const low = at ? bounds[at - 1] : 0;
      return low + ((bounds[at] - low) * (wanted - below)) / counts[at];
    }
    below += counts[at];
  }
  return bounds.at(-1);
}

export const total = (counts) => counts.reduce((sum, count) => sum + count, 0);

/** Keys asked for since the start, one by one and in batches. */
export const lookups = ({ counters }) => counters.requests + counters.batched;

/** Lookups that got no answer. */
export const failures = ({ counters }) => counters.unavailable + counters.refused;

/** Seconds between two answers by the router's own clock; null where it was started again. */
export const elapsed = (before, after) => (after.uptime > before.uptime ? after.uptime - before.uptime : null);

export const number = (value) => whole.format(value);

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** A rate: with a decimal where it is small. */
export const rate = (value) => (value < 10 ? short.format(value) : whole.format(value));

/** Seconds, in the unit that fits; a dash where nothing was measured. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.0009995) return `${short.format(Math.round(seconds * 1e6))} µs`;
  return seconds < 1 ? `${short.format(seconds * 1e3)} ms` : `${short.format(seconds)} s`;
}

/** Microseconds, as small as the steps of a lookup are. */
export const microseconds = (value) => (value < 1000 ? `${short.format(value)} µs` : duration(value / 1e6));

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = count;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${short.format(value)} ${units[at]}`;
}

/** How many bytes a shard holds and, unless it has read all of them, what part it has. */
export function held(shard) {
  const warm = Math.floor((100 * shard.checked) / shard.bytes);
  return shard.checked < shard.bytes ? `${bytes(shard.bytes)}, ${warm} % warm` : bytes(shard.bytes);
}

/** How long a process has been running, in the largest unit that fits. */
export function age(seconds) {
  for (const [unit, length] of [["d", 86_400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** A moment in Unix seconds as the reader's time of day, with the day where it is another one. */
export function clock(at) {
  const moment = new Date(1000 * at);
  const time = moment.toLocaleTimeString("en-GB");
  const today = moment.toDateString() === new Date().toDateString();
  return today ? time : `${moment.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}
