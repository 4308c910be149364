"""Large values: the shard tells only the size; once there is memory for it, the value is fetched in pieces.

    GET ──► -LARGE <size> ──► claimed of the process's budget ──► a window: LARGE_PIECES at once ──► the client
                                   │ not before the deadline           │ an owner is lost,  ▲           │ reads
                                   ▼                                   ▼ refuses, is slow   └───────────┘
                            TooManyRequests                       another owner

A piece is as long as the largest value that comes whole: so requests never wait long behind one, on a link or in a
process. All pieces are of the dataset that told the size. A value that is an answer by itself takes the memory of one
window, whatever its size; one that is a part of another answer is read whole.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from ringkv.cluster.errors import PeerError, ShardUnavailable, TooManyRequests
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.position import slot
from ringkv.process.budget import Claim
from ringkv.process.cancelling import cancel, give_up
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.unanswered import UNREACHABLE, not_held
from ringkv.router.policy import BATCH_PATIENCE, DEADLINE, LARGE_PIECES, PIECE_PATIENCE, TICK

if TYPE_CHECKING:
    from ringkv.router.lookup.lookup import Lookups

log = logging.getLogger("ringkv.router")

WINDOW: Final = LARGE_PIECES * LARGE_VALUE
"""Bytes of a large value that are on their way to one client at once."""


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
    for start in range(0, large.size, WINDOW):
        for piece in await window(lookups, large, start, large.size):
            value.write(piece)
    return value.getvalue()


async def window(lookups: "Lookups", large: Large, start: int, end: int) -> list[bytes]:
    """The pieces of the value's bytes from `start` on, WINDOW of them at most and none from `end` on.

    Their memory is claimed already. Raises ShardUnavailable.
    """
    end = min(end, start + WINDOW)
    starts = range(start, end, LARGE_VALUE)
    pieces: list[asyncio.Task[bytes]] = []
    try:
        async with lookups.large_reads:
            pieces += [asyncio.ensure_future(_piece(lookups, large, at, min(at + LARGE_VALUE, end))) for at in starts]
            await _while_they_come(pieces)
        return [await piece for piece in pieces]
    finally:
        for piece in pieces:
            piece.cancel()


async def _while_they_come(pieces: Iterable[asyncio.Task[bytes]]) -> None:
    """Wait for all pieces, or until no further one has come for BATCH_PATIENCE.

    Who waits for a shard that does not answer has no turn any more, and so does not hold up those who ask others.
    """
    waiting = set(pieces)
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=BATCH_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break


class LargeLookup:
    """A large value on its way, window by window: `left` bytes of `size`, once it is `begun`, are still to be read.

    `on_reply` is called with the first window, and with the next one after each `go_on`, until nothing is left; or with
    the reason why there is none, which is the end. After `abandon` it is not called any more. `claim` is that of the
    memory, once there is a window; it is given back when the claim is released or dropped.
    """

    claim: Claim

    def __init__(
        self, lookups: "Lookups", large: Large, on_reply: Callable[[list[bytes] | ShardUnavailable], None]
    ) -> None:
        self.dataset_id = large.dataset_id
        self.size = self.left = large.size
        self.begun = False
        self._lookups = lookups
        self._large = large
        self._on_reply = on_reply
        self._reading = True
        self._task = asyncio.create_task(self._begin())

    def go_on(self) -> None:
        """The client has read what was sent: read the next window, unless that is on its way."""
        if not self._reading:
            self._reading = True
            self._task = asyncio.create_task(self._read())

    def abandon(self) -> None:
        cancel(self._task)

    async def _begin(self) -> None:
        try:
            self.claim = await claim(self._lookups, min(self.size, WINDOW))
        except ShardUnavailable as error:
            self._on_reply(error)
        else:
            await self._read()

    async def _read(self) -> None:
        try:
            pieces = await window(self._lookups, self._large, self.size - self.left, self.size)
        except ShardUnavailable as error:
            if self.begun:
                tell_cut_off(self._large, error)
            self._on_reply(error)
            return
        self.left -= sum(map(len, pieces))
        self._reading = False
        self._on_reply(pieces)
        self.begun = True


def tell_cut_off(large: Large, error: ShardUnavailable) -> None:
    """Log that a client gets only a part of a value, whose rest cannot be read."""
    log.warning("a value of %d bytes is cut off: %s", large.size, error)


async def _piece(lookups: "Lookups", large: Large, start: int, stop: int) -> bytes:
    """A piece, from whichever owner sends it first: who owes one is not asked again, as it may only be late."""
    until = time.monotonic() + DEADLINE
    refused: list[Link] = []
    asked: dict[asyncio.Future[Any], Link] = {}
    problem = UNREACHABLE
    try:
        while True:
            link = _owner(lookups, large, [*refused, *asked.values()])
            if link is not None:
                asked[link.ask(b"PIECE", large.key, start, stop)] = link
            elif time.monotonic() > until:
                raise ShardUnavailable(problem)
            else:
                refused.clear()
            for answered in await _first(asked, TICK if link is None else PIECE_PATIENCE):
                link = asked.pop(answered)
                outcome = _outcome(answered, link, stop - start)
                if isinstance(outcome, bytes):
                    return outcome
                problem = outcome or problem
                refused.append(link)
    finally:
        give_up(asked)


def _outcome(answered: asyncio.Future[Any], link: Link, size: int) -> bytes | str:
    """The piece that was sent, or what the owner said instead; "" where it could not be reached."""
    try:
        piece = answered.result()
    except (OSError, PeerError) as error:
        return str(error)
    return piece if type(piece) is bytes and len(piece) == size else str(link.distrust(piece))


async def _first(asked: Collection[asyncio.Future[Any]], patience: float) -> set[asyncio.Future[Any]]:
    """Those that are answered, as soon as there are some; none where that takes longer than `patience`."""
    if not asked:
        await asyncio.sleep(patience)
        return set()
    return (await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED))[0]


def _owner(lookups: "Lookups", large: Large, asked: Collection[Link]) -> Link | None:
    """An owner that was not asked, in the router's zone if there is one. Raises ShardUnavailable."""
    topology = lookups.holding(large.dataset_id)
    if topology is None:
        raise not_held(large.dataset_id)
    able = (link for link in topology.routes[slot(large.key) >> topology.shift] if link.open and link not in asked)
    return min(able, key=lambda link: (not link.responsive, not link.near, link.in_flight), default=None)
