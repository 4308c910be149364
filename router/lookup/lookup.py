"""A request's life inside the router: sent, hedged, sent elsewhere, kept waiting, answered exactly once.

    lookup ──► an owner's link ──► value, or None
       │           │ lost, not leased, slow
       │           ▼
       │       another owner ──► …
       │           │ none left
       │           ▼
       └──────► waiting for the next topology ──► deadline: ShardUnavailable

The data of a version never change, so asking twice, or somebody else, is always right. Each link answers of one
dataset, so that an answer is known to be of that one, however many were swapped meanwhile.
"""

import asyncio
import time
from binascii import crc_hqx
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis

from ringkv.cluster.errors import CorruptBlock, LargeValue, RingkvError, ShardUnavailable
from ringkv.cluster.lease import refusal
from ringkv.cluster.position import SLOTS
from ringkv.router.lookup.hedging import HedgeBudget, HedgeDelay
from ringkv.router.lookup.hot import HotValues
from ringkv.router.lookup.kept import Kept
from ringkv.router.lookup.large import Large
from ringkv.router.lookup.ledger import Ledger
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.sample import Sample
from ringkv.router.lookup.silence import Silence
from ringkv.router.lookup.topology import Topology
from ringkv.router.lookup.unanswered import UNREACHABLE, too_many
from ringkv.router.policy import DEADLINE, MAX_IN_FLIGHT, TICK

Reply = bytes | None | ShardUnavailable
"""A value, None for a key that is not in the dataset, or the error that says why neither can be told."""

Found = Reply | Large
"""A Reply, or a large value that is still to be read."""

_SLOT_MASK: Final = SLOTS - 1


class Lookup:
    """One key on its way; `on_reply` is called once, unless `abandon` came first.

    `dataset_id` is the dataset that is asked for, None for whichever is served; once answered, that of the answer.
    """

    __slots__ = ("_lookups", "asked", "copies", "dataset_id", "key", "on_reply", "problem", "sent", "started")

    def __init__(
        self, lookups: "Lookups", key: bytes, on_reply: Callable[[Found], None], started: float, dataset_id: str | None
    ) -> None:
        self._lookups = lookups
        self.key = key
        self.on_reply: Callable[[Found], None] | None = on_reply
        self.started = started
        self.dataset_id = dataset_id
        self.asked: tuple[Link, ...] = ()
        self.copies = 0  # how many owners have been asked and have not replied yet
        self.sent = 0
        self.problem: RingkvError | None = None  # what the latest owner said, None if it could not be reached

    def abandon(self) -> None:
        """The client has gone: forget the reply, unless it was given already."""
        if self.on_reply is not None:
            self._lookups.counters.abandoned += 1
            self._lookups.finish(self)

    def answered(self, reply: Any, link: Link) -> None:
        self.copies -= 1
        if (on_reply := self.on_reply) is None:
            link.unwanted(reply)
            return
        if type(reply) is not bytes and reply is not None:
            self.problem = refusal(str(reply)) if isinstance(reply, hiredis.ReplyError) else link.distrust(reply)
            if not isinstance(self.problem, LargeValue):
                self._lookups.ask_again(self)
                return
            reply = Large(self.key, link.dataset_id, self.problem.size)
        self.on_reply = None
        self.dataset_id = dataset_id = link.dataset_id
        lookups = self._lookups
        lookups.in_flight -= 1  # it is not among those that wait, as it had been sent
        # Of a lookup that was sent twice nobody knows which one was answered: its time says nothing of the shard.
        (link.durations if self.sent == 1 else lookups.other_durations).observe(lookups.clock() - self.started)
        if reply is None:
            lookups.counters.missing += 1
        hot = lookups.hot
        hot.skip -= 1
        if hot.skip < 0:
            hot.look(self.key, reply, dataset_id)
        on_reply(reply)

    def lost(self, _link: Link) -> None:
        self.copies -= 1
        if self.on_reply is not None:
            self.problem = None
            self._lookups.ask_again(self)


class Lookups(Ledger):
    """All lookups of a router, and the topology by which they are sent.

    `kept` are topologies of datasets that were served before, `sample` some of the keys asked for lately. `hot` are
    values that need no lookup, in at most `hot_memory` bytes: callers that want a key of whichever dataset is served
    look there first. `clock` counts seconds as the loop's clock does, but more finely: uvloop's has milliseconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, hot_memory: int = 0) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.clock = clock
        self.topology: Topology | None = None
        self.kept = Kept()
        self.hot = HotValues(hot_memory, self.counters)
        self.sample = Sample()
        self.on_replaced: Callable[[], None] = lambda: None  # called when another dataset is served from now on
        self._hedge_delay = HedgeDelay()
        self._young: deque[Lookup] = deque()  # not yet old enough to be hedged, in the order of their start
        self._old: deque[Lookup] = deque()  # hedged, if that was possible; their next event is the deadline
        self._waiting: dict[Lookup, None] = {}  # without an owner to ask in this topology, in the order of their start
        self._hedges = HedgeBudget()
        self._silence = Silence()
        self._ticking, self._ticked = False, 0.0  # whether there are ticks, and when the latest was

    def start(self, key: bytes, on_reply: Callable[[Found], None], dataset_id: str | None = None) -> Lookup | None:
        """Look a canonical key up; None if there are too many requests, and then `on_reply` is not called.

        With `dataset_id` it is looked up in that dataset, even if another one is served.
        """
        self.counters.requests += 1
        if self.in_flight >= MAX_IN_FLIGHT:
            self.counters.refused += 1
            return None
        lookup = Lookup(self, key, on_reply, self.clock(), dataset_id)
        self.in_flight += 1
        self._young.append(lookup)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)
        self._ask(lookup)
        return lookup

    async def get(self, key: bytes) -> Found:
        return (await self.find(key))[0]

    async def find(self, key: bytes, dataset_id: str | None = None) -> tuple[Found, str | None]:
        """As `start`, awaited: the reply, and the dataset that has answered."""
        hot = self.hot
        if dataset_id in {None, hot.dataset_id} and (value := hot.find(key)) is not None:
            return value, hot.dataset_id
        done: asyncio.Future[Found] = self._loop.create_future()

        def reply(outcome: Found) -> None:
            # The awaiting task may have been cancelled just now, and not have abandoned the lookup yet.
            if not done.done():
                done.set_result(outcome)

        lookup = self.start(key, reply, dataset_id)
        if lookup is None:
            return too_many(), dataset_id
        try:
            return await done, lookup.dataset_id
        finally:
            lookup.abandon()

    def serves(self) -> str:
        """The dataset that is served, "" where none is."""
        return self.topology.dataset_id if self.topology else ""

    def holding(self, dataset_id: str) -> Topology | None:
        """The topology of this dataset: the current one, one that is kept, or None."""
        topology = self.topology
        return topology if topology and topology.dataset_id == dataset_id else self.kept.find(dataset_id)

    def swap(self, topology: Topology) -> None:
        """Send lookups by this topology from now on, first of all those that have waited for it.

        The topology before ends what it has begun; if it is of another dataset, it is kept for a while.
        """
        before, self.topology = self.topology, topology
        self.near |= {name: link.near for name, link in topology.links.items()}
        self.hot.begin(topology.dataset_id)
        self.kept.let_go(topology.dataset_id)
        if before is not None:
            if before.dataset_id == topology.dataset_id:
                before.retire()
            else:
                self.kept.keep(before)
                self.counters.swapped += 1
                self.on_replaced()
        waiting, self._waiting = self._waiting, {}
        for lookup in waiting:
            lookup.asked = ()
            self._ask(lookup)

    def renew(self, topology: Topology) -> None:
        """Use this topology for its dataset, which is kept, from now on, first of all for lookups that have waited."""
        if not self.kept.renew(topology):
            topology.retire()
        for lookup in [each for each in self._waiting if each.dataset_id == topology.dataset_id]:
            del self._waiting[lookup]
            lookup.asked = ()
            self._ask(lookup)

    def finish(self, lookup: Lookup) -> None:
        """Nothing more is to be done for this lookup."""
        if lookup.on_reply is not None:
            lookup.on_reply = None
            self.in_flight -= 1
            self._waiting.pop(lookup, None)

    @property
    def waiting(self) -> int:
        """How many lookups wait for the next topology."""
        return len(self._waiting)

    def ask_again(self, lookup: Lookup) -> None:
        self.counters.retried += 1
        self._ask(lookup)

    def _ask(self, lookup: Lookup) -> None:
        link = self._choose(lookup)
        if link is not None:
            self._send(lookup, link)
        elif lookup.copies:
            return
        elif isinstance(lookup.problem, CorruptBlock):
            # Another topology does not heal a damaged file, so there is nothing to wait for.
            self._give_up(lookup)
        else:
            self.counters.waited += 1
            self._waiting[lookup] = None

    def _choose(self, lookup: Lookup) -> Link | None:
        """The link with the fewest requests in flight among owners that were not asked, the preferred one first.

        Owners in other zones and silent ones are asked only if there is none left to ask beside them.
        """
        topology = self.topology if lookup.dataset_id is None else self.holding(lookup.dataset_id)
        if topology is None:
            return None
        # The slot's partition, as `ringkv.cluster.position` has it: a call would cost more than the CRC.
        partition = (crc_hqx(lookup.key, 0) & _SLOT_MASK) >> topology.shift
        asked = lookup.asked
        best: Link | None = None
        for link in topology.firsts[partition]:
            if link.responsive and link not in asked and (best is None or link.in_flight < best.in_flight):
                best = link
        return topology.last_resort(partition, asked) if best is None else best

    def _send(self, lookup: Lookup, link: Link) -> None:
        lookup.asked += (link,)
        lookup.copies += 1
        lookup.sent += 1
        link.get(lookup.key, lookup)

    def _tick(self) -> None:
        now, young, old = self.clock(), self._young, self._old
        ticked, self._ticked = self._ticked, now
        self._hedge_delay.look(now, self.shard_durations.values())
        if young:
            self.sample.take(young[-1].key)
        for waiter in self._silence.look(self.topology):
            if isinstance(waiter, Lookup) and waiter.on_reply and not any(link.responsive for link in waiter.asked):
                self._hedge(waiter, free=True)
        hedge_before = now - self._hedge_delay.seconds
        while young and (young[0].on_reply is None or young[0].started <= hedge_before):
            lookup = young.popleft()
            if lookup.on_reply is not None:
                self._hedge(lookup)
                old.append(lookup)
        # As of the tick before: where the router stood still, what has arrived meanwhile is read between the two.
        while old and (old[0].on_reply is None or old[0].started <= ticked - DEADLINE):
            lookup = old.popleft()
            if lookup.on_reply is not None:
                self._give_up(lookup)
        self._ticking = bool(young or old or self._silence)
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _hedge(self, lookup: Lookup, *, free: bool = False) -> None:
        link = self._choose(lookup) if lookup.copies else None
        requests = self.counters.requests - self.counters.hits
        if link is not None and link.responsive and (free or self._hedges.take(requests)):
            self.counters.hedged += 1
            self._send(lookup, link)

    def _give_up(self, lookup: Lookup) -> None:
        if (on_reply := lookup.on_reply) is not None:
            self.counters.unavailable += 1
            self.other_durations.observe(self.clock() - lookup.started)
            self.finish(lookup)
            on_reply(ShardUnavailable(UNREACHABLE if lookup.problem is None else str(lookup.problem)))
