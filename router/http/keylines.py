"""Keys, one a line, from a request's body that arrives in pieces; a line that is no key is refused by its number."""

from typing import Final

from ringkv.cluster.errors import InvalidKey
from ringkv.cluster.position import are_canonical_lines, canonical

MAX_LINE: Final = 64
"""Bytes after which an unfinished line is refused: a key has 36, and there is room for a `\\r`."""


class KeyLines:
    """`keys` are those of the lines that have arrived whole, canonical and in order.

    `size` is how many bytes came. Whoever receives them counts them, also those that are yet to be fed.
    """

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.size = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece. Raises InvalidKey for the first line that is none, with its number."""
        whole, end, rest = data.rpartition(b"\n")
        if end:
            self._take(self._rest + whole + end)
            self._rest = rest
        else:
            self._rest += rest
        if len(self._rest) > MAX_LINE:
            self._take(self._rest + b"\n")

    def end(self) -> None:
        """Take the last line, which may lack its newline, as nothing more comes. Raises InvalidKey."""
        if self._rest:
            self._take(self._rest + b"\n")
            self._rest = b""

    def _take(self, lines: bytes) -> None:
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
        lowered = lines.lower()
        if not are_canonical_lines(lowered):
            self._refuse(lines)
        keys = lowered.split(b"\n")
        keys.pop()
        self.keys += keys

    def _refuse(self, lines: bytes) -> None:
        for number, line in enumerate(lines.split(b"\n"), len(self.keys) + 1):
            try:
                canonical(line)
            except InvalidKey as error:
                raise InvalidKey(f"line {number}: {error}") from None
