"""The router's policies: how long, how many, how often, each with the reason for its value."""

from typing import Final

DEADLINE: Final = 5.0
"""Seconds a request may wait for a copy of its key to be reachable. Most clients give up after 10 or more."""

RETRY_AFTER: Final = "1"
"""Seconds after which a refused client should come back: a new topology takes less."""

MAX_IN_FLIGHT: Final = 16_384
"""Requests inside the router at once; at 50,000/s this is a third of a second's worth. Beyond: 503 at once."""

CROWD: Final = 2048
CROWDED_WINDOW: Final = 8
"""With more than CROWD requests in flight a Redis connection has CROWDED_WINDOW of them at most: else the router would
take up half a second's work at once of 250 clients that pipeline thousands, and all others would wait for it."""

TICK: Final = 0.01
"""Seconds between two looks at the requests in flight. A timer for each would cost more than the request."""

HEDGE_BUDGET: Final = 0.1
"""Hedges allowed for each request, on average: so that hedging does not add load to a cluster that is overloaded."""

HEDGE_BURST: Final = 256
"""Hedges that may be saved up: the requests in flight to a shard at the moment when it hangs."""

HEDGE_DELAY_MIN: Final = 0.01
HEDGE_DELAY_MAX: Final = 0.1
"""Bounds of the hedge delay: one tick, and half of the longest wait that a hung shard may cause."""

HEDGE_QUANTILE: Final = 0.99
"""The share of recent replies that took no longer than the hedge delay."""

HEDGE_SAMPLES: Final = 100
"""Replies that it takes to tell a quantile: with fewer, one late reply would decide."""

SILENT_TICKS: Final = 2
"""Ticks without any reply after which a shard is sent a heartbeat, and as many without an answer to that after which it
is silent: 50 ms in all, half of the longest wait that a hung shard may cause where its keys have other owners."""

HEDGE_LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks at the recent replies."""

BATCH_KEYS: Final = 512
"""Keys in one MGET of a batch: 1.5 ms of a shard's time, in which it answers nobody else. More of them save nothing."""

BATCHES: Final = 4
"""Batches inside the router at once: one that is made into an answer, three at the shards; further ones wait. So a GET
waits at its shard for no more than four commands of BATCH_KEYS. Each batch counts as one of MAX_IN_FLIGHT."""

BATCH_PATIENCE: Final = 0.25
"""Seconds without any answer after which the keys of a batch are looked up one by one. A busy machine takes less."""

BATCH_LOOKUPS: Final = 4
"""Keys of a failed batch looked up at once, because each value may have 64 MiB."""

FEW_KEYS: Final = 16
"""Up to so many keys of one Redis command are looked up one by one: a batch costs more, and waits for its turn."""

MGET_REPLY: Final = 128 << 20
"""Bytes of the values of one MGET of the Redis port, which are held whole: two of the largest values."""

LARGE_READS: Final = 4
LARGE_PIECES: Final = 4
"""Large values that are read at once, and pieces of each that are: so a small value waits behind 4 MiB, at most."""

PIECE_PATIENCE: Final = 1.0
"""Seconds that an owner has for a piece of a large value, before another one is asked."""

CORS_MAX_AGE: Final = "86400"
"""Seconds for which a browser may remember what a page of another origin may ask: the longest that any of them does."""

MAX_URL: Final = 8000
"""Bytes of a request's target; beyond: 414. RFC 9110, section 4.1, wants this much to be supported."""

MAX_FIELD: Final = 8190
"""Bytes of a header's name, and of its value; beyond: 431. Other than MAX_URL: aiohttp tells by the limit alone which
one was exceeded."""

MGET_KEYS: Final = 100_000
"""Keys of one POST /mget: a third of a second's work, and 10 MB of memory. For more, send more requests."""

MGET_BYTES: Final = 4 << 20
"""Bytes of its body: MGET_KEYS lines of 38 bytes, with a little room."""

MGET_HELD: Final = 64 << 20
"""Bytes of such bodies inside the router at once; as keys they take 2.5 times as much memory. Beyond: 503 at once."""

WINDOW_KEYS: Final = 1000
"""Keys whose values a POST /mget holds at once: a turn of the event loop of 1 ms, and a full batch for two shards."""

WINDOW_BYTES: Final = 1 << 20
"""Bytes of values that a window aims at. For a slow reader two windows are held: the one it reads, and the next."""

DIRECT_BYTES: Final = 1 << 16
"""Bytes from which on a value is written by itself: to copy it into one piece with its head would cost more."""

MAX_TAILS: Final = 1024
"""Distinct remainders of a request's head that the express lane remembers as unremarkable: each client has its own."""

SCAN_PARTITIONS: Final = 64
"""Partitions whose keys a SCAN asks for at once, at most: in a dataset of a few keys most partitions are empty."""

SAMPLE_KEYS: Final = 256
"""Keys that a router remembers of those asked for lately, to try the next version of the data with them: so many tell
10 % from 20 %, and asking for them takes a few milliseconds."""

SAMPLE_EVERY: Final = 64
"""One of so many keys that are asked for together is remembered: that costs a thousandth of what the requests cost."""

GATE_KEYS: Final = 20
"""Remembered keys that the served version must hold for the gate to judge the next one: of these, two are 10 %."""

GATE_DRAWS: Final = 64
GATE_NEIGHBOURS: Final = 4
"""If fewer were asked for, keys are drawn from what is served: GATE_NEIGHBOURS at each of GATE_DRAWS places, which are
SAMPLE_KEYS in all."""

GATE_TOGETHER: Final = 32
"""Keys of the sample that are asked for at once: other requests wait less than a millisecond for them."""

GATE_PATIENCE: Final = 5.0
"""Seconds that shards have to answer GATE_TOGETHER of these keys, whose blocks may have to come from a store."""

WARM_PATIENCE: Final = 0.5
"""Seconds that a swap to another version waits, at most, for its shards to read ahead: a million pairs take them less,
and a rollback is served everywhere within two seconds all the same."""

WARM_SHARE: Final = 0.95
"""The part of what a shard has leased that is to be checked by then: a block may be damaged, and is never checked."""

WARM_LOOK: Final = 0.05
"""Seconds between two heartbeats that ask how much is checked."""

LAG_TOLD: Final = 10.0
"""Seconds after which the log says which shards a new version waits for: fetching its manifest may take a few."""

KEEP_SECONDS: Final = 60.0
"""How long the dataset that was served before can be asked for: longer than a client takes to read a long answer, or to
read the values of a page one by one; until then its shards hold it open."""

KEPT_TOPOLOGIES: Final = 2
"""Datasets before the current one that are kept at once: publishing again and again must not fill the shards."""

HEARTBEAT_INTERVAL: Final = 0.25
HEARTBEAT_TIMEOUT: Final = 1.0
"""A shard that is silent for four heartbeats is given up. Pauses of a busy machine are shorter."""

LEASE_PATIENCE: Final = 10.0
LEASE_PATIENCE_SHARD: Final = 0.05
"""Seconds that shards have to grant the leases of one topology, and how many more for each of them. They read no block
for it: a busy machine takes a tenth of a second, and a ring of 1,024 shards three, for one router after the other. A
shard may answer heartbeats while its disk does not, and all others would wait for it: it is kept out as one that
refuses."""

DISCOVERY_INTERVAL: Final = 1.0
"""Seconds between two looks at the name server."""

RECONNECT_MIN: Final = 0.02
RECONNECT_MAX: Final = 1.0
RECONNECT_MAX_LOCAL: Final = 0.05
"""Bounds of the backoff to an address that does not answer, with jitter: on this machine an attempt costs nobody else
anything, and a shard that has just begun to listen is to be met at once."""

JOIN_SETTLE: Final = 0.5
JOIN_SETTLE_MAX: Final = 2.0
"""Seconds that a join waits for others, since the latest arrival and since the first: five shards that are started
together are one change, not five."""

FIRST_SETTLE: Final = 3.0
"""Seconds that the first topology waits for shards, at most; not at all once all listed ones are there."""

FLAP_UPTIME: Final = 2.0
FLAP_HOLD_MIN: Final = 1.0
FLAP_HOLD_MAX: Final = 30.0
"""A shard that is lost within FLAP_UPTIME of joining, or while joining, is kept out: longer each time it happens."""

HOT_OWNERS: Final = 8
"""Extra owners of a cluster's hot partitions, unless `--hot-owners` says otherwise: of 256 it is 3 % more copies."""

HOT_BUSY: Final = 75
HOT_PART: Final = 25
HOT_AFTER: Final = 5.0
"""A partition gains an owner when those that it has are at work, or wait for a processor, for so many percent of their
time, and it takes so many of that of each of them, for so many seconds: with one more it takes a half from the first,
and of what comes for a moment nobody moves."""

COOL_PART: Final = 10
COOL_AFTER: Final = 30.0
"""It loses one when each of the others would spend less than so many percent of its time on it, for so many seconds:
less than a half of what is left of HOT_PART when it has gained one, so that it does not gain and lose in turn."""

LINGER_SECONDS: Final = 0.5
LINGER_MAX: Final = 2.0
"""Seconds that a router which is told to stop waits for the next requests of connected clients; and at most, while some
of them have not sent their first request, which nobody would answer if the connection was closed at once."""

DRAIN_SECONDS: Final = 6.0
"""Seconds that requests in flight may take to end when the router stops: more than their deadline, less than the 10 s
after which Docker kills."""

REPORT_INTERVAL: Final = 0.5
"""Seconds between two writes of a worker's figures: those of the other workers are at most that old."""

LAYOUT_POINTS: Final = 4096
"""Virtual nodes in a layout: as many as a picture can show, and 60 KB. 32 shards have 16,384 of them."""

EVENTS_KEPT: Final = 500
"""Events that a router remembers: 100 KB, and about an hour of a shard that is lost again and again at FLAP_HOLD_MAX; a
change that an operator makes has a handful."""

HISTORY_INTERVAL: Final = 5
HISTORY_SAMPLES: Final = 720
"""Seconds between two samples of what the router does, and how many are kept: an hour, in 100 bytes a sample and 70
for each shard of it: 350 KB with five shards. A loss that lasts a second is still seen, and shorter ones are events."""

HISTORY_PHASE: Final = 0.25
"""Seconds after each multiple of HISTORY_INTERVAL at which a sample is taken: half of REPORT_INTERVAL, so that what the
other workers have written is equally old in every sample."""

HOT_MEMORY: Final = 64 << 20
"""Bytes for values that are asked for again and again, of all processes of a router together, unless `--hot-memory`
says otherwise: some 220,000 values of 60 bytes, beside the 50 MB that a process needs anyway."""

HOT_VALUE: Final = 64 << 10
"""Bytes of the largest hot value that is kept: a larger one costs more to write to the client than to fetch."""

HOT_ENTRY: Final = 240
"""Bytes that a kept value takes beside its own: the objects of key and value, their places in a dict, a queue and a
set."""

HOT_SAMPLE: Final = 2
HOT_SAMPLE_MAX: Final = 16
"""One of so many answers of shards is looked at closely: of 2 while many of them are for keys that were seen lately, of
16 while hardly any are, so that evenly drawn keys pay little. Looking at all would bring Zipf's keys 5 % more hits."""

HOT_SLOWER: Final = 1.06
"""The factor by which that distance grows with each key that was not seen lately; each that was halves it. Both balance
where 8 % were seen: of a million evenly drawn keys fewer are, of Zipf's 13 %."""

HOT_MARKS: Final = 8
"""One of so many hits is counted and marks its key: to do so with more of them would cost more than it tells."""

HOT_SEEN: Final = 1 << 16
"""Keys of answers that are remembered, as fingerprints of 8 bytes: at 60,000 requests a second those of 2 s, and of a
longer time the more hits there are. A power of two."""

HOT_CHANCES: Final = 32
"""Marked values that are spared before one is dropped for a new one, at most: this bounds what a new one costs."""

HOT_COUNTED: Final = 256
"""Keys that are counted, so that the counts of the HOT_TOLD hottest ones are about right."""

HOT_TOLD: Final = 20
"""Keys that `GET /hot` tells."""

HOT_WINDOW: Final = 60.0
"""Seconds of one window of counting. What is told is the current one and the one before: one to two minutes."""
