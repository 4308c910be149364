"""A reply that is large: it is made when its turn has come and there is room for it (process/budget.py).

Routers need none: they have made room before they ask, and are sent one such reply after the other.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from ringkv.process.budget import Budget
from ringkv.process.budget import Claim as Room
from ringkv.resp import codec
from ringkv.resp.pending import Pending

WAIT_SECONDS: Final = 5.0
"""So long a client waits for others to read: as long as a router lets its clients wait."""


class Roomy(Pending):
    """Waits for room for `size` bytes, then for what `make` makes, which may have to read a block again."""

    __slots__ = ("_budget", "_claim", "_made", "_make", "_size", "_timer", "stuck")

    def __init__(
        self, notify: Callable[[], None], budget: Budget, size: int, make: Callable[[], "bytes | Pending"]
    ) -> None:
        super().__init__(notify)
        self._budget = budget
        self._size = size
        self._make = make
        self._claim: Room | None = None
        self._made: Pending | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.stuck = True
        notify()

    def turn(self, *, waits: bool = True) -> None:
        if self._claim is not None or self.reply is not None:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WAIT_SECONDS if waits else 0, self._refuse)
        self._claim = self._budget.claim(self._size, self._begin_soon)
        self.claims = (self._claim,)

    def abandon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._made is not None:
            self._made.abandon()
        self.stuck = False
        super().abandon()

    def _begin_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if not self.stuck or self.reply is not None or self._made is not None:
            return
        assert self._timer is not None
        self._timer.cancel()
        made = self._make()
        if isinstance(made, bytes):
            self._end(made)
        else:
            self._made = made
            made.notify = self._come

    def _come(self) -> None:
        if self._made is not None and self._made.reply is not None:
            self._end(self._made.reply)

    def _refuse(self) -> None:
        if self._claim is not None and not self._claim.granted:
            self.release()
            self._end(
                codec.error("TRYAGAIN", "no room for so large a reply, as others wait for theirs; try again later")
            )

    def _end(self, reply: bytes) -> None:
        self.stuck = False
        self.answer(reply)
