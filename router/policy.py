"""The router's policies: how long, how many, how often, each with the reason for its value."""

from typing import Final

DEADLINE: Final = 5.0
"""Seconds a request may wait for a copy of its key to be reachable. Most clients give up after 10 or more."""

RETRY_AFTER: Final = "1"
"""Seconds after which a refused client should come back: a new topology takes less."""

MAX_UNANSWERED: Final = 16_384
"""Requests inside the router at once; at 50,000/s this is a third of a second's worth. Beyond: 503 at once."""

TICK: Final = 0.01
"""Seconds between two looks at the unanswered requests. A timer for each would cost more than the request."""

HEDGE_BUDGET: Final = 0.1
"""Hedges a request, at most: so that a cluster that is slow because it is overloaded is not loaded further."""

HEDGE_BURST: Final = 256
"""Hedges that may be saved up: the requests in flight to a shard at the moment when it hangs."""

HEDGE_DELAY_MIN: Final = 0.01
HEDGE_DELAY_MAX: Final = 0.1
"""Bounds of the hedge delay: one tick, and half of the longest wait that a hung shard may cause."""

HEDGE_QUANTILE: Final = 0.99
"""The share of recent replies that took no longer than the hedge delay."""

HEDGE_SAMPLES: Final = 100
"""Replies from which a quantile can be told: with fewer one late reply decides."""

HEDGE_LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks at the recent replies."""

BATCH_KEYS: Final = 512
"""Keys a command of a batch: some 1.5 ms of a shard's time, for which its other readers wait. Larger saves nothing."""

BATCHES: Final = 4
"""Batches inside the router at once: one being rendered, three at the shards. The others wait for their turn, so
that a GET stands behind no more than four commands of BATCH_KEYS at its shard. Each counts as one of MAX_UNANSWERED."""

BATCH_PATIENCE: Final = 0.25
"""Seconds without any answer after which the keys of a batch are looked up one by one: what no busy machine takes."""

BATCH_LOOKUPS: Final = 4
"""Keys of a failed batch looked up at once, because each value may have 64 MiB."""

MGET_KEYS: Final = 100_000
"""Keys of one POST /mget: a third of a second's work, and 10 MB of memory. Who wants more sends more requests."""

MGET_BYTES: Final = 4 << 20
"""Bytes of its body: MGET_KEYS lines of 38 bytes, with a little room."""

MGET_HELD: Final = 64 << 20
"""Bytes of such bodies inside the router at once; as keys they take 2.5 times as much memory. Beyond: 503 at once."""

MGET_SILENCE: Final = 60.0
"""Seconds after which a client that neither sends nor reads anything is given up: it may only be slow."""

WINDOW_KEYS: Final = 1000
"""Keys whose values a POST /mget holds at once: a turn of the event loop of 1 ms, and a full batch for two shards."""

WINDOW_BYTES: Final = 1 << 20
"""Bytes of values it aims at holding at once. Two windows of each slow reader are held: its own and the next one."""

HEARTBEAT_INTERVAL: Final = 0.25
HEARTBEAT_TIMEOUT: Final = 1.0
"""A shard that says nothing for four heartbeats is given up. A garbage collection or a busy machine is shorter."""

DISCOVERY_INTERVAL: Final = 1.0
"""Seconds between two looks at the name server."""

RECONNECT_MIN: Final = 0.02
RECONNECT_MAX: Final = 1.0
"""Bounds of the backoff to an address that does not answer, with jitter."""

JOIN_SETTLE: Final = 0.5
JOIN_SETTLE_MAX: Final = 2.0
"""How long a join waits for others to come with it, since the latest and since the first: one change, not five."""

FIRST_SETTLE: Final = 3.0
"""How long the first topology waits at most while shards still arrive; not at all if all that are listed are here."""

FLAP_UPTIME: Final = 2.0
FLAP_HOLD_MIN: Final = 1.0
FLAP_HOLD_MAX: Final = 30.0
"""A shard that is lost within FLAP_UPTIME of joining, or while joining, is kept out: longer each time it happens."""
