// Which shard is looked at more closely: chosen in the ring, in its legend or in the table, shown by all of them.

const followers = [];
let chosen = null;
let opener = null;

/** Call `follow` with the name whenever another shard is chosen; null is none. */
export const onChoice = (follow) => followers.push(follow);

export const choice = () => chosen;

/** Choose a shard; the element that had the focus gets it back in the end, or the shard's row where that has gone. */
export function choose(name) {
  if (name !== null && chosen === null) opener = document.activeElement;
  const before = chosen;
  chosen = name;
  for (const follow of followers) follow(name);
  if (name !== null || before === null) return;
  const row = document.querySelector(`#shards [data-shard="${CSS.escape(before)}"] button`);
  (opener.isConnected ? opener : row)?.focus();
}
