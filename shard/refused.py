"""Blocks that are refused by name: what is wrong stays so, and what could not be read is tried again.

For a disk may be there again that was away for a while, as one behind a network is: a shard that reads ahead meanwhile
would refuse all that it has, to its end.
"""

import time
from collections.abc import Collection
from typing import Final

UNREAD: Final = "cannot be read: "
"""How a reason begins that says nothing of the bytes."""

RETRY_SECONDS: Final = 10.0
"""Seconds for which a block is refused that could not be read, before the next request for it reads it again."""


class Refused(dict[int, str]):
    """Block → reason, for people."""

    def __init__(self) -> None:
        super().__init__()
        self._until: dict[int, float] = {}

    def add(self, block: int, wrong: str, reason: str) -> bool:
        """Refuse a block from now on, `wrong` being what was found; whether that is news."""
        is_news = self.get(block) != reason
        self[block] = reason
        self._until[block] = time.monotonic() + RETRY_SECONDS if wrong.startswith(UNREAD) else float("inf")
        return is_news

    def holds(self, block: int) -> bool:
        """Whether it is to be refused without a look at the disk."""
        return block in self and time.monotonic() < self._until[block]

    def forget(self, partitions: Collection[int], width: int) -> None:
        """Refuse no block of these partitions, of `width` blocks each."""
        for block in [block for block in self if block // width in partitions]:
            del self[block], self._until[block]
