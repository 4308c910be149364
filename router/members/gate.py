"""The gate before a swap: tries the next version with keys that were asked for lately, and keeps it out if too many of
them are gone, since a truncated file is a valid one.

    sample ──► the version that is served ──► keys that it holds ──► the next version, all owners ──► how many are gone
    too few ──► keys drawn from what is served ──┘                         └──► their blocks are warm now

All owners are asked, so that the blocks that are asked for most are read and checked on each of them before the swap.
A router that has just started, or is not asked for anything, draws keys: else it would serve what others have refused.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ringkv.cluster.cursor import CURSORS, first_position
from ringkv.cluster.errors import CorruptBlock, LeaseRefused, PeerError, SwapRefused
from ringkv.cluster.lease import Offered, refusal
from ringkv.cluster.position import slot, slot_at
from ringkv.process.cancelling import give_up
from ringkv.resp.scan import Page
from ringkv.router.lookup.keys import keys_from
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.sample import Sample
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.versions import Versions
from ringkv.router.policy import GATE_DRAWS, GATE_KEYS, GATE_NEIGHBOURS, GATE_PATIENCE, GATE_TOGETHER


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of `asked` keys that the served version holds, `gone` are not in the next one, or damaged there.

    `drawn`: some of them were drawn, as too few had been asked for.
    """

    asked: int
    gone: int
    drawn: bool = False

    def keeps_out(self, gate: float) -> bool:
        """Whether more than this share is gone; False if there were too few keys to tell."""
        return self.asked >= GATE_KEYS and self.gone > gate * self.asked

    def reason(self, gate: float) -> str:
        keys = "keys of what is served" if self.drawn else "keys that were asked for lately"
        return (
            f"{self.gone} of {self.asked} {keys} are not in it, more than {100 * gate:g} %:"
            " publish other data, roll back, or force it"
        )


class Gate:
    """`share` of the keys may be gone."""

    def __init__(self, share: float, sample: Sample, versions: Versions) -> None:
        self._share = share
        self._sample = sample
        self._versions = versions

    async def pass_on(self, version: Offered | None, now: Topology, after: Topology) -> None:
        """Raises SwapRefused for a version that is kept out, LeaseRefused if that cannot be told now."""
        verdict = await judge(self._sample.keys(), now, after)
        if version is None or not verdict.keeps_out(self._share):
            return
        reason = verdict.reason(self._share)
        if not version.forced:
            self._versions.refuse(version, reason)
            raise SwapRefused(reason)
        self._versions.forced(version, reason)


async def judge(sample: Sequence[bytes], now: Topology, after: Topology) -> Verdict:
    """Try the keys with the version that is served and the next one. Raises LeaseRefused if that does not answer."""
    verdict = await _try(sample, now, after)
    if verdict.asked >= GATE_KEYS:
        return verdict
    further = await _try([key for key in await _draw(now) if key not in sample], now, after)
    return Verdict(verdict.asked + further.asked, verdict.gone + further.gone, drawn=True)


async def _try(keys: Sequence[bytes], now: Topology, after: Topology) -> Verdict:
    asked = gone = 0
    for start in range(0, len(keys), GATE_TOGETHER):
        some = keys[start : start + GATE_TOGETHER]
        held = [key for key, found in zip(some, await _find(some, now), strict=True) if found]
        for key, found in zip(held, await _find(held, after), strict=True):
            if found is None:
                raise LeaseRefused(f"no shard has told whether dataset {after.dataset_id} holds {key.decode()}")
            gone += not found
        asked += len(held)
    return Verdict(asked, gone)


async def _draw(topology: Topology) -> list[bytes]:
    """Keys from all over the ring, a few neighbours at each place, for which only one block has to be read."""
    found: dict[bytes, None] = {}
    for _ in range(0, GATE_DRAWS, GATE_TOGETHER):
        places = [random.randrange(CURSORS) for _ in range(GATE_TOGETHER)]  # noqa: S311 - nobody keeps a secret by it
        for keys in await asyncio.gather(*[_neighbours(topology, place) for place in places]):
            found |= dict.fromkeys(keys)
    return list(found)


async def _neighbours(topology: Topology, cursor: int) -> list[bytes]:
    """A few keys behind a place, none if no owner tells any. In a dataset of few keys most partitions are empty."""
    found: list[bytes] = []
    for _ in range(GATE_NEIGHBOURS):
        cursor, keys = await _page(topology, cursor, GATE_NEIGHBOURS - len(found))
        found += keys
        if not cursor or len(found) >= GATE_NEIGHBOURS:
            break
    return found


async def _page(topology: Topology, cursor: int, count: int) -> Page:
    """The next keys, from the first owner that tells them."""
    for link in topology.routes[slot_at(first_position(cursor)) >> topology.shift]:
        try:
            async with asyncio.timeout(GATE_PATIENCE):
                return await keys_from(link, cursor, count)
        except (PeerError, TimeoutError, ConnectionError):
            continue
    return 0, []


async def _find(keys: Sequence[bytes], topology: Topology) -> list[bool | None]:
    """Whether each of the keys is there, as any owner says; None where that cannot be told now."""
    asked = [_ask(key, topology.routes[slot(key) >> topology.shift]) for key in keys]
    replies = [reply for owners in asked for reply in owners if reply is not None]
    try:
        if replies:
            await asyncio.wait(replies, timeout=GATE_PATIENCE)
        return [_judged([_told(reply) for reply in owners]) for owners in asked]
    finally:
        give_up(replies)


def _ask(key: bytes, owners: Iterable[Link]) -> list[asyncio.Future[Any] | None]:
    """Ask each of the owners, without a task for each: requests of others wait meanwhile."""
    return [link.ask("EXISTS", key) if link.open else None for link in owners]


def _told(reply: asyncio.Future[Any] | None) -> bool | None:
    """Whether an owner has the key; None where it has not answered."""
    if reply is None or not reply.done():
        return None
    error = reply.exception()
    if error is None:
        return bool(reply.result() == 1)
    # Where the block is damaged nobody will get a value from there; where a store does not answer, somebody may soon.
    return False if isinstance(refusal(str(error)), CorruptBlock) else None


def _judged(told: Sequence[bool | None]) -> bool | None:
    if True in told:
        return True
    return None if None in told else False
