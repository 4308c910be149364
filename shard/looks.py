"""Whether it is worth a look if a block is in memory: in vain, a look costs about a third of the read that follows."""

from typing import Final

COLD_MISSES: Final = 16
"""Looks for a block in memory that have to be in vain, one after the other, before most of them are left out."""

COLD_LOOK: Final = 8
"""Then one in so many is done, so that it is noticed when the memory has been filled meanwhile."""


class Looks:
    def __init__(self) -> None:
        self._asked = 0
        self._misses = 0  # one after the other

    def are_worth_it(self) -> bool:
        """Whether to look for the next block."""
        self._asked += 1
        return self._misses < COLD_MISSES or not self._asked % COLD_LOOK

    def saw(self, *, found: bool) -> None:
        """Note what a look brought."""
        self._misses = 0 if found else self._misses + 1
