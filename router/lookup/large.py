"""Large values: the shard tells only the size; once there is memory for the value, it is fetched in pieces.

    GET ──► -LARGE <size> ──► claimed of the process's budget ──► pieces, LARGE_PIECES at once ──► the value
                                   │ not before the deadline           │ an owner is lost, refuses, is slow
                                   ▼                                   ▼
                            TooManyRequests                       another owner

A piece is as long as the largest value that comes whole: so requests never wait long behind one, on a link or in a
process. All pieces are of the dataset that told the size.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from ringkv.cluster.errors import PeerError, ShardUnavailable, TooManyRequests
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.position import slot
from ringkv.process.budget import Claim
from ringkv.router.lookup.link import Link
from ringkv.router.policy import DEADLINE, LARGE_PIECES, PIECE_PATIENCE, TICK

if TYPE_CHECKING:
    from ringkv.router.lookup.lookup import Lookups


@dataclass(frozen=True, slots=True)
class Large:
    """A key's value in a dataset, of which only the size in bytes is known so far."""

    key: bytes
    dataset_id: str
    size: int


async def claim(lookups: "Lookups", size: int) -> Claim:
    """Claim memory for so many bytes of the budget. Raises TooManyRequests if there is none before the deadline."""
    try:
        return await lookups.budget.claim(size)
    except TimeoutError:
        lookups.refuse()
        raise TooManyRequests(f"no memory for {size} bytes of values; try again later") from None


async def read(lookups: "Lookups", large: Large) -> bytes:
    """The value, whose memory is claimed already. Raises ShardUnavailable."""
    value = BytesIO()
    async with lookups.large_reads:
        starts = range(0, large.size, LARGE_VALUE)
        for first in range(0, len(starts), LARGE_PIECES):
            some = starts[first : first + LARGE_PIECES]
            pieces = [asyncio.ensure_future(_piece(lookups, large, start)) for start in some]
            try:
                for piece in pieces:
                    value.write(await piece)
            finally:
                for piece in pieces:
                    piece.cancel()
    return value.getvalue()


class LargeLookup:
    """A large value on its way; `on_reply` is called once, unless `abandon` came first.

    By then `claim` is that of its memory, which is given back when the claim is released or dropped.
    """

    claim: Claim

    def __init__(self, lookups: "Lookups", large: Large, on_reply: Callable[[bytes | ShardUnavailable], None]) -> None:
        self.dataset_id = large.dataset_id
        self._lookups = lookups
        self._large = large
        self._on_reply = on_reply
        self._task = asyncio.create_task(self._read())

    def abandon(self) -> None:
        self._task.cancel()

    async def _read(self) -> None:
        try:
            self.claim = await claim(self._lookups, self._large.size)
            self._on_reply(await read(self._lookups, self._large))
        except ShardUnavailable as error:
            self._on_reply(error)


async def _piece(lookups: "Lookups", large: Large, start: int) -> bytes:
    stop = min(start + LARGE_VALUE, large.size)
    until = time.monotonic() + DEADLINE
    asked: list[Link] = []
    problem = "no shard that owns this key could be reached"
    while True:
        link = _owner(lookups, large, asked)
        if link is not None:
            asked.append(link)
            try:
                async with asyncio.timeout(PIECE_PATIENCE):
                    piece = await link.ask(b"PIECE", large.key, start, stop)
            except (OSError, PeerError) as error:  # TimeoutError is an OSError
                problem = str(error) or problem
                continue
            if type(piece) is bytes and len(piece) == stop - start:
                return piece
            problem = str(link.distrust(piece))
        elif time.monotonic() > until:
            raise ShardUnavailable(problem)
        else:
            asked.clear()
            await asyncio.sleep(TICK)


def _owner(lookups: "Lookups", large: Large, asked: Sequence[Link]) -> Link | None:
    """An owner that was not asked, in the router's zone if there is one. Raises ShardUnavailable."""
    topology = lookups.holding(large.dataset_id)
    if topology is None:
        raise ShardUnavailable(f"dataset {large.dataset_id} was replaced, and is not held any more; ask again")
    able = (link for link in topology.routes[slot(large.key) >> topology.shift] if link.open and link not in asked)
    return min(able, key=lambda link: (not link.responsive, not link.near, link.in_flight), default=None)
