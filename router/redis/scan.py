"""The keys of all shards page by page, for SCAN and its kind: each partition's from one of its owners.

cursor ──► partition, and those behind it ──► KEYSFROM on an owner of each, together ──► keys, in the ring's order
                                                   │ lost, refused, silent
                                                   ▼
                                              its other owners, then those of the next topology
"""

import asyncio
from dataclasses import dataclass

from ringkv.cluster.cursor import CURSORS, first_position
from ringkv.cluster.errors import CorruptBlock, PeerError, RingkvError, ShardUnavailable
from ringkv.cluster.lease import refusal
from ringkv.cluster.position import slot_at
from ringkv.resp.scan import Page
from ringkv.router.lookup.keys import keys_from
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.lookup.unanswered import UNREACHABLE
from ringkv.router.policy import BATCH_PATIENCE, DEADLINE, SCAN_PARTITIONS, TICK


@dataclass(frozen=True, slots=True)
class _Untold:
    """No owner tells the keys of a partition now; `problem` is what the latest said, None if all of them are silent.

    `final`: nor will one later, as no topology heals a damaged file.
    """

    problem: RingkvError | None
    final: bool


async def page(lookups: Lookups, cursor: int, count: int) -> Page:
    """The next keys of the ring, about `count`. Raises ShardUnavailable."""
    with lookups.one():
        return await _told(lookups, cursor, count)


async def _told(lookups: Lookups, cursor: int, count: int) -> Page:
    clock = asyncio.get_running_loop().time
    until = clock() + DEADLINE
    problem: RingkvError = ShardUnavailable(UNREACHABLE)  # until an owner tells one
    while True:
        # A turn for each attempt: who waits for a shard that does not answer must not hold up those who ask others.
        async with lookups.batches:
            found = await _page(lookups, cursor, count)
        if not isinstance(found, _Untold):
            return found
        problem = found.problem or problem
        if found.final or clock() > until:
            raise ShardUnavailable(str(problem))
        await asyncio.sleep(TICK)


async def _page(lookups: Lookups, cursor: int, count: int) -> Page | _Untold:
    keys: list[bytes] = []
    while True:
        left = count - len(keys)
        starts = _starts(lookups.topology, cursor, left)
        parts = await asyncio.gather(*[_ask(lookups, start, left) for start in starts])
        for start, part in zip(starts, parts, strict=True):
            # There is a gap, as a part was cut short or is of a dataset with other partitions: go on from there.
            if start != cursor:
                break
            if isinstance(part, _Untold):
                return (cursor, keys) if keys else part
            cursor, found = part
            keys += found
            if not cursor or len(keys) >= count:
                return cursor, keys


def _starts(topology: Topology | None, cursor: int, count: int) -> list[int]:
    """`cursor`, and the cursors of those partitions behind it that are likely to be needed for `count` keys."""
    if topology is None:
        return [cursor]
    partitions = topology.ring.partitions
    cells = CURSORS // partitions
    needed = count * partitions // max(1, topology.dataset.keys)
    first = cursor // cells + 1
    return [cursor, *(number * cells for number in range(first, min(first + min(needed, SCAN_PARTITIONS), partitions)))]


async def _ask(lookups: Lookups, cursor: int, count: int) -> Page | _Untold:
    """The next keys of one partition, from whichever owner tells them first."""
    problem: RingkvError | None = None
    silent = damaged = False
    topology = lookups.topology
    for link in topology.routes[slot_at(first_position(cursor)) >> topology.shift] if topology else ():
        try:
            async with asyncio.timeout(BATCH_PATIENCE):
                return await keys_from(link, cursor, count)
        except PeerError as error:
            problem = refusal(str(error))
            damaged = isinstance(problem, CorruptBlock)
        except (TimeoutError, ConnectionError):
            silent = True
    return _Untold(problem, final=damaged and not silent)


def size(lookups: Lookups) -> int:
    """The number of keys in the dataset. Raises ShardUnavailable."""
    if lookups.topology is None:
        raise ShardUnavailable(UNREACHABLE)
    return lookups.topology.dataset.keys
