"""The bytes that clients make a process hold: one sum, which `--memory` bounds.

--memory ─┬─ OWN     the process itself: interpreter, libraries, what it knows of the cluster
          └─ rest ─┬─ CLIENTS   what clients have sent without an end, or do not read: where that is too much,
                   │            the connection goes of which it is held for longest
                   ├─ CLAIMS    with that, large values on their way: claimed before they are asked for
                   └─ slack     what comes in one turn of the event loop, before anybody can be let go

Small values are not claimed: too few of them are ever on their way at once to matter. A reply that is made of many of
them for one client is, once it has more than UNCLAIMED bytes.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from ringkv.process.memory import available

OWN: Final = 80 << 20
"""Bytes that a router or a shard takes for itself, before anybody has asked for anything."""

CLIENTS: Final = 0.4
"""Of what is left, the part that is held for clients. Python needs as much again where that is in small pieces."""

CLAIMS: Final = 0.8
"""Of what is left, the part in which large values have a place, beside all that is held for clients."""

LEAST: Final = 128 << 20
"""The fewest bytes with which a process can serve: OWN, and 48 MiB for its clients."""

UNNOTED: Final = 4096
"""Up to so many bytes that are held for a connection are not counted: usual requests never have more."""

PATIENCE: Final = 5.0
"""Seconds for which a request waits for memory. Most clients give up after 10 or more."""

UNCLAIMED: Final = 1 << 20
"""Bytes of a reply of small values that need no claim, nor does each further MiB before it is there."""

SHARE: Final = 0.5
"""Of the memory that there is, what all processes of a command take unless told otherwise; the rest is page cache."""


def memory_of(given: int | None, processes: int = 1) -> int:
    """Bytes for each of so many processes: their share of those that were given, else of what there is."""
    return max(LEAST, (int(available() * SHARE) if given is None else given) // processes)


class Budget:
    """In bytes: `held` for clients now, of at most `clients`; `claimed` for large values; `most` for both together."""

    def __init__(self, memory: int) -> None:
        rest = max(memory, LEAST) - OWN
        self.clients = int(rest * CLIENTS)
        self.held = 0
        self.claimed = 0
        self.most = int(rest * CLAIMS)
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def pressed(self) -> bool:
        """Whether so much is held that clients who would add to it are to wait."""
        return self.held > self.clients // 2

    @property
    def exceeded(self) -> bool:
        return self.held > self.clients

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for memory."""
        return bool(self._waiting)

    async def claim(self, size: int) -> "Claim":
        """Wait until there is memory for so many bytes, in the order of asking. Raises TimeoutError after PATIENCE.

        A claim larger than the whole budget waits until nothing else is claimed, and little is held.
        """
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        self.grant()
        async with asyncio.timeout(PATIENCE):
            try:
                await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled():
                    self.claimed -= size
                    self.grant()
                raise
        return Claim(self, size)

    def grant(self) -> None:
        """Grant the claims that wait, in order, as far as there is memory now."""
        while self._waiting:
            size, granted = self._waiting[0]
            if not granted.cancelled():
                if self.claimed + self.held + size > self.most and (self.claimed or self.pressed):
                    return
                self.claimed += size
                granted.set_result(None)
            self._waiting.popleft()


class Claim:
    """Memory for `size` bytes, until it is released, or garbage collected with what it was claimed for."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self.size = size

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        self.release()

    def __del__(self) -> None:
        self._budget.claimed -= self.size  # whoever waits is looked at ten times a second, and this may be any thread

    def release(self) -> None:
        self._budget.claimed -= self.size
        self.size = 0
        self._budget.grant()


def lacking(size: int, claims: Iterable[Claim]) -> int:
    """Bytes that are still to be claimed, beside `claims`, for a reply that takes `size` so far; 0 for few."""
    missing = size - sum(claim.size for claim in claims)
    return missing if missing > UNCLAIMED else 0
