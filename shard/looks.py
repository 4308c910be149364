"""Whether to look if a block is in memory before it is read: a look in vain costs a third of the read that follows."""

from typing import Final

COLD_MISSES: Final = 16
"""After so many looks in vain, one after the other, most looks are left out."""

COLD_LOOK: Final = 8
"""Then one of so many looks is done, to notice when blocks have come into memory meanwhile."""


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
