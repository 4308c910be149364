"""The arguments of a request that is being read, of which there may be many, and many such requests.

They are kept in parts. Parts are tuples, which the collector visits once and never again, and are freed one by one: to
visit or to free what a hundred clients have sent takes a tenth of a second, in which nobody would be answered.
"""

from itertools import chain
from typing import Final

TOGETHER: Final = 1024
"""Arguments of a part, after which others have their turn: read in 0.2 ms, or in one if each has another length."""

_OBJECT: Final = 48
"""About the bytes that Python takes for an argument besides its own."""


class Arguments:
    """`last` are those behind the whole parts."""

    def __init__(self) -> None:
        self.last: list[bytes] = []
        self._parts: list[tuple[bytes, ...]] = []

    @property
    def overhead(self) -> int:
        """About the bytes that Python takes for them besides their own."""
        return _OBJECT * (len(self.last) + TOGETHER * len(self._parts))

    def part(self) -> None:
        """`last` is a whole part now."""
        self._parts.append(tuple(self.last))
        self.last.clear()

    def take(self) -> list[bytes]:
        """All of them; there are none any more."""
        args, self.last = self.last, []
        if self._parts:
            parts, self._parts = self._parts, []
            args = [*chain.from_iterable(parts), *args]
        return args

    def discard(self) -> bool:
        """Free a part; whether there are more."""
        if self._parts:
            self._parts.pop()
        return bool(self._parts)
