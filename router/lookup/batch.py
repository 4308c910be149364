"""Many keys at once: one `MGET` to each shard instead of a lookup for each key, which costs a tenth of that.

    keys ──► by owner ──► MGET, one at a time on each link ──► values, in the order asked
                              │ lost, refused, odd, not answered in time
                              ▼
                          lookups of just those keys (router/lookup/lookup.py)

This is the fast way, for when nothing goes wrong. Retries, hedges, waiting for the next topology and the deadline are
left to lookups, so that they exist once.

All values of a batch are of one dataset: that of the topology by which the shards were asked. Where a lookup was
answered of another one, since that was swapped meanwhile, the whole batch is read again.
"""

import asyncio
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ringkv.cluster.errors import ShardUnavailable
from ringkv.cluster.position import SLOTS
from ringkv.cluster.told import are_values
from ringkv.process.budget import Claim
from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.large import Large, claim, read
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.lookup.unanswered import not_held, replaced
from ringkv.router.policy import BATCH_KEYS, BATCH_LOOKUPS, BATCH_PATIENCE, DEADLINE

Values = list[bytes | None]

_SLOT_MASK: Final = SLOTS - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """The values of the first `len(values)` of the keys asked for, None for those that the dataset does not hold.

    `claims` are for the memory of large values, and of the answer that is made of them.
    """

    dataset_id: str
    values: Values
    claims: tuple[Claim, ...] = ()


async def fetch(
    lookups: Lookups, keys: Sequence[bytes], room: float = float("inf"), dataset_id: str | None = None
) -> Batch:
    """The values of at least one canonical key, all from one dataset, in the order asked; a key may be asked for twice.

    The batch may hold the values of the first keys only: it ends early once the values that had to be looked up one by
    one, because they are too large for a shard's reply to MGET, have more than `room` bytes together. With `dataset_id`
    the values are of that dataset, though another one be served. Raises ShardUnavailable.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + DEADLINE
    while True:
        topology = await _topology(lookups, keys[0], dataset_id)
        values: Values = [None] * len(keys)
        failed = await _ask_shards(lookups, topology, keys, values)
        looking = _LookingUp(lookups, keys, values, topology.dataset_id)
        answered = await looking.up(failed, room, dataset_id) if failed else len(keys)
        if not looking.replaced:
            lookups.sample.take_some(keys)
            found = values[:answered] if answered < len(values) else values
            return Batch(topology.dataset_id, found, tuple(looking.claims))
        if clock() > until:
            raise replaced()


async def _topology(lookups: Lookups, key: bytes, dataset_id: str | None) -> Topology:
    """The topology of this dataset, or the current one; the first is waited for. Raises ShardUnavailable."""
    if dataset_id is not None:
        topology = lookups.holding(dataset_id)
        if topology is None:
            raise not_held(dataset_id)
        return topology
    while (topology := lookups.topology) is None:
        outcome = await lookups.get(key)
        if isinstance(outcome, ShardUnavailable):
            raise outcome
    return topology


async def _ask_shards(lookups: Lookups, topology: Topology, keys: Sequence[bytes], values: Values) -> list[int]:
    """Fill `values` in; the places of the keys that no shard has answered, ascending. Raises ShardUnavailable."""
    async with lookups.batch(len(keys)):
        asking = _Asking(keys, values, topology)
        failed = await asking.failed()
    asking.count(lookups.counters)
    return failed


def places_by_link(topology: Topology, keys: Sequence[bytes]) -> tuple[dict[Link, list[int]], list[int]]:
    """The places in `keys` of the keys that each link is to be asked for; and those of keys without a reachable owner.

    A key is asked of the least busy of its owners with open links, in the router's zone if there are any.
    """
    routes, shift = topology.routes, topology.shift
    by_owners: defaultdict[tuple[Link, ...], list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        # The slot's partition, as `ringkv.cluster.position` has it: a call would cost more than the CRC.
        by_owners[routes[(crc_hqx(key, 0) & _SLOT_MASK) >> shift]].append(place)
    by_link: dict[Link, list[int]] = {}
    nobodys: list[int] = []
    for owners, places in by_owners.items():
        links = [link for link in owners if link.responsive] or [link for link in owners if link.open]
        if links:
            links = [link for link in links if link.near] or links
            link = min(links, key=lambda link: (link.in_flight, len(by_link.get(link, ())))) if links[1:] else links[0]
            by_link.setdefault(link, []).extend(places)
        else:
            nobodys += places
    return by_link, nobodys


class _Asking:
    """Each link asked for its part of the keys."""

    def __init__(self, keys: Sequence[bytes], values: Values, topology: Topology) -> None:
        self.keys = keys
        self.values = values
        self.progress = 0
        by_link, self._nobodys = places_by_link(topology, keys)
        self._parts = [_Part(self, link, places) for link, places in by_link.items()]
        self._asking = len(self._parts)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def failed(self) -> list[int]:
        """Wait until every part has ended or none makes progress; returns the places of unanswered keys, ascending."""
        for part in self._parts:
            part.ask()
        progress = -1
        try:
            while self._asking and progress != self.progress:
                progress = self.progress
                await asyncio.wait([self._done], timeout=BATCH_PATIENCE)
        finally:
            for part in self._parts:
                part.end()
        failed = self._nobodys + [place for part in self._parts for place in part.left()]
        failed.sort()
        return failed

    def count(self, counters: Counters) -> None:
        """Count the keys that shards of the router's zone have answered, and those that others have."""
        for part in self._parts:
            if part.link.near:
                counters.own_zone += part.answered_keys
            else:
                counters.other_zone += part.answered_keys

    def part_ended(self) -> None:
        self._asking -= 1
        if not self._asking and not self._done.done():
            self._done.set_result(None)


class _Part:
    """The keys that one link is asked for: BATCH_KEYS a command, the next one when the last is answered."""

    __slots__ = ("_asking", "_places", "answered_keys", "link")

    def __init__(self, asking: _Asking, link: Link, places: list[int]) -> None:
        self._asking: _Asking | None = asking
        self.link = link
        self._places = places
        self.answered_keys = 0

    def ask(self) -> None:
        if self._asking is not None:
            keys = self._asking.keys
            self.link.mget([keys[place] for place in self._next_places()], self)

    def end(self) -> None:
        """Ignore later replies. This also breaks a cycle of references, so that the values are freed at once."""
        self._asking = None

    def left(self) -> list[int]:
        return self._places[self.answered_keys :]

    def answered(self, reply: Any, _link: Link) -> None:
        asking = self._asking
        if asking is None:
            return
        places = self._next_places()
        if not are_values(reply, len(places)):
            asking.part_ended()
            return
        values = asking.values
        for place, value in zip(places, reply, strict=True):
            values[place] = value
        asking.progress += 1
        self.answered_keys += len(places)
        if self.answered_keys < len(self._places) and self.link.open:
            self.ask()
        else:
            asking.part_ended()

    def lost(self, _link: Link) -> None:
        if self._asking is not None:
            self._asking.part_ended()

    def _next_places(self) -> list[int]:
        return self._places[self.answered_keys : self.answered_keys + BATCH_KEYS]


class _LookingUp:
    """The keys that no shard has answered together; `replaced` if one was answered of another dataset than wanted."""

    def __init__(self, lookups: Lookups, keys: Sequence[bytes], values: Values, dataset_id: str) -> None:
        self._lookups = lookups
        self._keys = keys
        self._values = values
        self._dataset_id = dataset_id
        self.replaced = False
        self.claims: list[Claim] = []

    async def up(self, places: list[int], room: float, asked: str | None) -> int:
        """Look the keys at `places` up until their values have more than `room` bytes together.

        They are asked for in the dataset `asked`, else in whichever is served: if the wanted one was replaced, and the
        only owner of a key was lost with it, the next one can answer. Returns how many values, from the first on, are
        complete then. Raises ShardUnavailable.
        """
        keys, find = self._keys, self._lookups.find
        for start in range(0, len(places), BATCH_LOOKUPS):
            if room < 0:
                return places[start]
            few = places[start : start + BATCH_LOOKUPS]
            found = await asyncio.gather(*[find(keys[at], asked) for at in few])
            for place, (outcome, dataset_id) in zip(few, found, strict=True):
                if isinstance(outcome, ShardUnavailable):
                    raise outcome
                if dataset_id != self._dataset_id:
                    self.replaced = True
                    return 0
                if isinstance(outcome, Large) and room < 0:
                    return place
                value = await self._read(outcome) if isinstance(outcome, Large) else outcome
                self._values[place] = value
                room -= len(value or b"")
        return len(keys)

    async def _read(self, large: Large) -> bytes:
        """The value; twice its size is claimed, for itself and for the answer that is made of it."""
        self.claims.append(await claim(self._lookups, 2 * large.size))
        return await read(self._lookups, large)
