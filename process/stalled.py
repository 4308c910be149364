"""Clients who are not read from: they send much, and take turns, or there is no memory for more.

    half a request, more of it than READ_FREELY ──► in line ──► READ_TOGETHER in each turn of the event loop ──► read on
                                                      │ no memory
                                                      └──► waits, until there is some

Without it one turn of the loop would read what hundreds have sent, up to megabytes of each, and all others would wait.
"""

import asyncio
from collections import OrderedDict
from itertools import islice
from typing import Final, Protocol

from ringkv.process.budget import Budget

READ_FREELY: Final = 64 << 10
"""Bytes of a request, or of several, that may come in one go: all usual ones."""

READ_TOGETHER: Final = 2
"""Who goes on in one turn: a quarter of a megabyte of each, which takes a fraction of a millisecond."""


class Reader(Protocol):
    """A connection that can be told not to read."""

    def stall(self, *, stalled: bool) -> None:
        """Read no more from the client, or go on with that."""


class Stalled:
    """The connections that wait to be read from, in the order in which they began to."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._line: OrderedDict[Reader, None] = OrderedDict()
        self._going = False

    def __bool__(self) -> bool:
        return bool(self._line)

    def stall(self, client: Reader) -> None:
        """Read no more from this one until its turn comes."""
        self._line[client] = None
        client.stall(stalled=True)
        self.go_on()

    def resume(self, client: Reader) -> None:
        """Read on at once."""
        if client in self._line:
            del self._line[client]
            client.stall(stalled=False)

    def leave(self, client: Reader) -> None:
        """The connection has ended."""
        self._line.pop(client, None)

    def go_on(self) -> None:
        """Let the next ones go on, as soon as others have had their turn; not while memory is short."""
        if self._line and not self._going and not self._budget.pressed:
            self._going = True
            asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        self._going = False
        for client in list(islice(self._line, READ_TOGETHER)):
            if self._budget.pressed:
                return
            self.resume(client)
        self.go_on()
