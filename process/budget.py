"""The bytes that a process may hold for its clients: known before they are asked for, and waited for where need be.

    memory ─┬─ large     values above SMALL_VALUE, each claimed by its size before a shard is asked for it
            ├─ small     all others: so many requests at once as have room, whatever their values turn out to be
            ├─ clients   what single clients have sent without an end, or do not read
            └─ rest      the process itself

Nobody who holds a claim waits for another one, so that each claim ends when its client has read, or is given up.
"""

from collections.abc import Callable
from typing import Final

from ringkv.process.memory import available

OWN: Final = 64 << 20
"""Bytes of the process itself: interpreter, libraries, topology, connections."""

LEAST: Final = 128 << 20
"""Bytes below which nothing could be served: OWN, and as much again."""

SHARE: Final = 0.5
"""Of the memory that there is, what all processes of a command take unless told otherwise; the rest is page cache."""

COPIES: Final = 2
"""How often a value is in memory at worst: as it arrives, and as it is handed on."""


def memory_of(given: int | None, processes: int = 1) -> int:
    """Bytes for each of so many processes: those that were given, or their share of what there is."""
    return max(LEAST, given if given is not None else int(available() * SHARE) // processes)


class Claim:
    """Room for some bytes, from when it was granted until `release`; before that it can be taken back by the same."""

    __slots__ = ("_budget", "_on_granted", "granted", "size")

    def __init__(self, budget: "Budget", size: int, on_granted: Callable[[], None]) -> None:
        self._budget: Budget | None = budget
        self._on_granted: Callable[[], None] | None = on_granted
        self.size = size
        self.granted = False

    def release(self) -> None:
        """Give the room back. May be called twice."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget.released(self)

    def grant(self) -> None:
        self.granted = True
        on_granted, self._on_granted = self._on_granted, None
        if on_granted is not None:
            on_granted()


class Budget:
    """`memory` is what the process may take, in bytes; `held` is what is claimed of it for large values."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        room = max(memory, LEAST) - OWN
        self.large = room // 2
        self.small = room // 4
        self.clients = room // 8
        self.held = 0
        self._waiting: dict[Claim, None] = {}  # in the order of their coming

    @property
    def waiting(self) -> int:
        """How many claims wait."""
        return len(self._waiting)

    def claim(self, size: int, on_granted: Callable[[], None]) -> Claim:
        """Claim room for values of `size` bytes together. `on_granted` is called when it is there, or at once.

        What is larger than all that there is gets it when nobody else has any.
        """
        claim = Claim(self, COPIES * size, on_granted)
        self._waiting[claim] = None
        self._grant()
        return claim

    def released(self, claim: Claim) -> None:
        """Called by a claim that has ended."""
        if claim.granted:
            self.held -= claim.size
        else:
            self._waiting.pop(claim, None)
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            claim = next(iter(self._waiting))
            if self.held and self.held + claim.size > self.large:
                return
            del self._waiting[claim]
            self.held += claim.size
            claim.grant()
