"""A request's life inside the router: sent, hedged, sent elsewhere, kept waiting, answered exactly once.

    lookup ──► an owner's link ──► value, or None
       │           │ lost, not loaded, slow
       │           ▼
       │       another owner ──► …
       │           │ none left
       │           ▼
       └──────► waiting for the next topology ──► deadline: Unavailable

The data never changes, so asking twice, or somebody else, is always right.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from cluster.errors import ShardUnavailable
from cluster.lease import CORRUPT
from cluster.position import position
from router.durations import Durations, total
from router.hedging import HedgeBudget, HedgeDelay
from router.link import Link
from router.policy import BATCHES, DEADLINE, HEDGE_LOOK_INTERVAL, MAX_UNANSWERED, TICK
from router.topology import Topology

Reply = bytes | None | ShardUnavailable
"""A value, None for a key that is not in the dataset, or why neither can be told."""

UNREACHABLE: Final = "no shard that owns this key could be reached"
TOO_MANY: Final = ShardUnavailable(f"{MAX_UNANSWERED} requests wait already; try again later")


@dataclass(slots=True)
class Counters:
    """What has happened since the start. Of `requests`, those in no other count of results have found a value."""

    requests: int = 0
    batched: int = 0
    missing: int = 0
    unavailable: int = 0
    refused: int = 0
    abandoned: int = 0
    hedged: int = 0
    retried: int = 0
    waited: int = 0


class Lookup:
    """One key on its way; `on_reply` is called once, unless `abandon` came first."""

    __slots__ = ("_lookups", "asked", "in_flight", "key", "on_reply", "position", "reason", "sent", "started")

    def __init__(self, lookups: "Lookups", key: bytes, on_reply: Callable[[Reply], None], started: float) -> None:
        self._lookups = lookups
        self.key = key
        self.position = position(key)
        self.on_reply: Callable[[Reply], None] | None = on_reply
        self.started = started
        self.asked: tuple[Link, ...] = ()
        self.in_flight = 0
        self.sent = 0
        self.reason = UNREACHABLE

    def abandon(self) -> None:
        """The client has gone: nobody wants the reply. Nothing if it was there already."""
        if self.on_reply is not None:
            self._lookups.counters.abandoned += 1
            self._lookups.finish(self)

    def answered(self, reply: Any, link: Link) -> None:
        self.in_flight -= 1
        on_reply = self.on_reply
        if on_reply is None:
            return
        if isinstance(reply, hiredis.ReplyError):
            self.reason = str(reply)
            self._lookups.ask_again(self)
            return
        self.on_reply = None
        self._lookups.answered(self, reply, link)
        on_reply(reply)

    def lost(self, _link: Link) -> None:
        self.in_flight -= 1
        if self.on_reply is not None:
            self.reason = UNREACHABLE
            self._lookups.ask_again(self)


class Lookups:
    """All lookups of a router, and the topology by which they are sent.

    `clock` counts seconds as the loop's clock does; uvloop's shows no more than milliseconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self.topology: Topology | None = None
        self.counters = Counters()
        self.unanswered = 0
        self.batches = asyncio.Semaphore(BATCHES)
        self.shard_durations: defaultdict[str, Durations] = defaultdict(Durations)
        self._other_durations = Durations()  # of those that were sent more than once, or never answered
        self._hedge_delay = HedgeDelay()
        self._next_look = 0.0
        self._young: deque[Lookup] = deque()  # not yet old enough to be hedged, in the order of their start
        self._old: deque[Lookup] = deque()  # hedged if that was possible; next comes the deadline
        self._waiting: dict[Lookup, None] = {}  # nobody to ask in this topology, in the order of their start
        self._hedges = HedgeBudget()
        self._ticking = False

    def start(self, key: bytes, on_reply: Callable[[Reply], None]) -> Lookup | None:
        """Look a canonical key up; None when there are too many already, and nothing will be called."""
        self.counters.requests += 1
        if self.unanswered >= MAX_UNANSWERED:
            self.counters.refused += 1
            return None
        lookup = Lookup(self, key, on_reply, self._clock())
        self.unanswered += 1
        self._young.append(lookup)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)
        self._ask(lookup)
        return lookup

    async def get(self, key: bytes) -> Reply:
        """What `start` calls back with, awaited."""
        done: asyncio.Future[Reply] = self._loop.create_future()

        def reply(outcome: Reply) -> None:
            # Who awaits may have been cancelled a moment ago, and not yet had the chance to abandon the lookup.
            if not done.done():
                done.set_result(outcome)

        lookup = self.start(key, reply)
        if lookup is None:
            return TOO_MANY
        try:
            return await done
        finally:
            lookup.abandon()

    def swap(self, topology: Topology) -> None:
        """Send by this topology from now on, first of all what has waited for it."""
        self.topology = topology
        waiting, self._waiting = self._waiting, {}
        for lookup in waiting:
            lookup.asked = ()
            self._ask(lookup)

    def finish(self, lookup: Lookup) -> None:
        """Nothing more is to be done for this lookup."""
        if lookup.on_reply is not None:
            lookup.on_reply = None
            self.unanswered -= 1
            self._waiting.pop(lookup, None)

    def answered(self, lookup: Lookup, reply: Reply, link: Link) -> None:
        """Count what has been answered; with a copy under way it was not waiting."""
        self.unanswered -= 1
        # Of a lookup that was sent twice nobody knows which copy's time this is.
        durations = link.durations if lookup.sent == 1 else self._other_durations
        durations.observe(self._clock() - lookup.started)
        if reply is None:
            self.counters.missing += 1

    @property
    def waiting(self) -> int:
        """How many lookups wait for the next topology."""
        return len(self._waiting)

    def durations(self) -> Durations:
        """Those of all answers so far, from the start of the lookup."""
        return total([*self.shard_durations.values(), self._other_durations])

    def ask_again(self, lookup: Lookup) -> None:
        self.counters.retried += 1
        self._ask(lookup)

    def _ask(self, lookup: Lookup) -> None:
        link = self._choose(lookup)
        if link is not None:
            self._send(lookup, link)
        elif lookup.in_flight:
            return
        elif lookup.reason.startswith(CORRUPT):
            # No topology heals a damaged file: say so at once.
            self._give_up(lookup)
        else:
            self.counters.waited += 1
            self._waiting[lookup] = None

    def _choose(self, lookup: Lookup) -> Link | None:
        """The open link with the fewest requests in flight among the owners not asked yet, the preferred first."""
        topology = self.topology
        if topology is None:
            return None
        best: Link | None = None
        for link in topology.routes[lookup.position >> topology.shift]:
            if link.open and link not in lookup.asked and (best is None or link.unanswered < best.unanswered):
                best = link
        return best

    def _send(self, lookup: Lookup, link: Link) -> None:
        lookup.asked += (link,)
        lookup.in_flight += 1
        lookup.sent += 1
        link.get(lookup.key, lookup)

    def _tick(self) -> None:
        now, young, old = self._clock(), self._young, self._old
        if now >= self._next_look:
            self._next_look = now + HEDGE_LOOK_INTERVAL
            self._hedge_delay.follow(total(self.shard_durations.values()))
        hedge_before = now - self._hedge_delay.seconds
        while young and (young[0].on_reply is None or young[0].started <= hedge_before):
            lookup = young.popleft()
            if lookup.on_reply is not None:
                self._hedge(lookup)
                old.append(lookup)
        while old and (old[0].on_reply is None or old[0].started <= now - DEADLINE):
            lookup = old.popleft()
            if lookup.on_reply is not None:
                self._give_up(lookup)
        self._ticking = bool(young or old)
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _hedge(self, lookup: Lookup) -> None:
        link = self._choose(lookup) if lookup.in_flight else None
        if link is not None and self._hedges.take(self.counters.requests):
            self.counters.hedged += 1
            self._send(lookup, link)

    def _give_up(self, lookup: Lookup) -> None:
        on_reply = lookup.on_reply
        if on_reply is not None:
            self.counters.unavailable += 1
            self._other_durations.observe(self._clock() - lookup.started)
            self.finish(lookup)
            on_reply(ShardUnavailable(lookup.reason))
