"""The gate before a swap: tries the next version with keys that were asked for lately, and keeps it out if too many of
them are gone, since a truncated file is a valid one.

    sample ──► the version that is served ──► keys that it holds ──► the next version, all owners ──► how many are gone
                                                                           └──► their blocks are warm now

All owners are asked, so that the blocks that are asked for most are read and checked on each of them before the swap.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ringkv.cluster.errors import LeaseRefused, PeerError
from ringkv.cluster.position import slot
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.topology import Topology
from ringkv.router.policy import GATE_KEYS, GATE_PATIENCE, GATE_TOGETHER


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of `asked` keys that the served version holds, `gone` are not in the next one, or cannot be read there."""

    asked: int
    gone: int

    def keeps_out(self, gate: float) -> bool:
        """Whether more than this share is gone; of too few keys nothing can be told."""
        return self.asked >= GATE_KEYS and self.gone > gate * self.asked

    def reason(self, gate: float) -> str:
        return (
            f"{self.gone} of {self.asked} keys that were asked for lately are not in it, more than {100 * gate:g} %:"
            " publish other data, roll back, or force it"
        )


async def judge(sample: Sequence[bytes], now: Topology, after: Topology) -> Verdict:
    """Try the keys with the version that is served and the next one. Raises LeaseRefused if that does not answer."""
    asked = gone = 0
    for start in range(0, len(sample), GATE_TOGETHER):
        some = sample[start : start + GATE_TOGETHER]
        held = [key for key, found in zip(some, await _find(some, now), strict=True) if found]
        for key, found in zip(held, await _find(held, after), strict=True):
            if found is None:
                raise LeaseRefused(f"no shard has told whether dataset {after.dataset_id} holds {key.decode()}")
            gone += not found
        asked += len(held)
    return Verdict(asked, gone)


async def _find(keys: Sequence[bytes], topology: Topology) -> list[bool | None]:
    """Whether each of the keys is there; None where that cannot be told now."""
    return await asyncio.gather(*[_find_one(key, topology) for key in keys])


async def _find_one(key: bytes, topology: Topology) -> bool | None:
    owners = topology.routes[slot(key) >> topology.shift]
    told = await asyncio.gather(*[_ask(link, key) for link in owners])
    if True in told:
        return True
    return None if None in told else False


async def _ask(link: Link, key: bytes) -> bool | None:
    """Whether an owner has this key; None where it does not answer."""
    if not link.open:
        return None
    try:
        async with asyncio.timeout(GATE_PATIENCE):
            return bool(await link.call("EXISTS", key) == 1)
    except PeerError:
        return False  # the block is damaged: nobody will get a value from there
    except (TimeoutError, ConnectionError):
        return None
