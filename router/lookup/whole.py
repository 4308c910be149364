"""Values that are too large to be sent unasked: room is made for them, then they are read part by part.

    lookup ──► value
       └─────► Large: its size ──► claim (process/budget.py) ──► lookup of one part after the other ──► value
                                      └─ no room until the deadline: TooManyRequests

One operation makes one claim, for all of its large values together, before it asks for the first of them: so that
nobody who has room waits for more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ringkv.cluster.errors import ShardUnavailable, TooManyRequests
from ringkv.process.budget import Claim
from ringkv.router.policy import DEADLINE

if TYPE_CHECKING:
    from ringkv.router.lookup.lookup import Lookup, Lookups, Reply


PART: Final = 2 << 20
"""Bytes that are asked for at once: few enough that shard, link and router have time for others in between."""


@dataclass(frozen=True, slots=True)
class Large:
    """What is known of a value that was not sent: its bytes, and in which dataset it is."""

    size: int
    dataset_id: str


class Whole:
    """Large values on their way; `on_done` is called once, later, unless `abandon` came first.

    `values` are in the order of `keys`. `claim` stays until whoever asked releases it, as the values do.
    """

    __slots__ = (
        "_got",
        "_keys",
        "_lookup",
        "_lookups",
        "_on_done",
        "_parts",
        "_sizes",
        "_timer",
        "claim",
        "dataset_id",
        "values",
    )

    def __init__(
        self,
        lookups: "Lookups",
        keys: Sequence[bytes],
        large: Sequence[Large],
        on_done: Callable[["Whole"], None],
        *,
        waits: bool = True,
    ) -> None:
        """All must be of one dataset. Without `waits` there is room now or not at all."""
        self._lookups = lookups
        self._keys = keys
        self._on_done: Callable[[Whole], None] | None = on_done
        self._sizes = [each.size for each in large]
        self._lookup: Lookup | None = None
        self._parts: list[bytes] = []  # of the value that is being read
        self._got = 0  # its bytes
        self.dataset_id = large[0].dataset_id
        self.values: list[Reply] = []
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # A turn later, so that nothing is called before whoever asks knows of this.
        self.claim = lookups.budget.claim(sum(self._sizes), self._ask_soon)
        if not self.claim.granted:
            self._timer = loop.call_later(DEADLINE if waits else 0, self._refuse)

    def abandon(self) -> None:
        """Nobody wants them any more: nor the room."""
        self._on_done = None
        self._stop()
        self.claim.release()

    def _ask_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        """Ask for the next part."""
        if self._on_done is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        place, first = len(self.values), self._got
        last = min(first + PART, self._sizes[place]) - 1
        self._lookup = self._lookups.start_part(self._keys[place], (first, last), self._take, self.dataset_id)

    def _take(self, outcome: "Reply") -> None:
        if not isinstance(outcome, bytes):
            lost = ShardUnavailable("a large value was not found again; try again later")
            self._fail(outcome if isinstance(outcome, ShardUnavailable) else lost)
            return
        self._parts.append(outcome)
        self._got += len(outcome)
        place = len(self.values)
        if self._got == self._sizes[place]:
            parts, self._parts, self._got = self._parts, [], 0
            self.values.append(b"".join(parts))
        if len(self.values) < len(self._keys):
            self._ask()
        else:
            self._done()

    def _refuse(self) -> None:
        self._lookups.refuse()
        self._fail(TooManyRequests("no room for so large a value, as others wait for theirs; try again later"))

    def _fail(self, problem: ShardUnavailable) -> None:
        self._stop()
        self.claim.release()
        self.values = [problem] * len(self._keys)
        self._done()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lookup is not None:
            self._lookup.abandon()
        self._parts = []

    def _done(self) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(self)


def _value(outcome: "Reply") -> bytes | None:
    if isinstance(outcome, ShardUnavailable):
        raise outcome
    assert not isinstance(outcome, Large)
    return outcome


async def read_whole(
    lookups: "Lookups", keys: Sequence[bytes], large: Sequence[Large], *, waits: bool = True
) -> tuple[list[bytes | None], Claim]:
    """The values, and the claim to be released once they are gone. Raises ShardUnavailable."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(_whole: Whole) -> None:
        if not done.done():
            done.set_result(None)

    whole = Whole(lookups, keys, large, told, waits=waits)
    try:
        await done
        values = [_value(value) for value in whole.values]
    except BaseException:
        whole.abandon()
        raise
    return values, whole.claim
