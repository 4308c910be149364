"""A text file: pieces are ranges of it, cut here and read by whoever parses them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from xxhash import xxh3_128

from ringkv.dataset.source.file import RegularFile, changed, unreadable
from ringkv.dataset.source.protocol import Pairs
from ringkv.dataset.text import MAX_LINE, Malformed, parse


class FileRange(NamedTuple):
    """Whole lines of a text file: a piece."""

    path: Path
    name: str
    start: int
    size: int

    def pairs(self) -> Pairs | Malformed:
        """Raises SourceError, also if the file has become shorter."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                lines = file.read(self.size)
        except OSError as error:
            raise unreadable(self.name, error) from error
        if len(lines) != self.size:
            raise changed(self.name)
        return parsed(lines)


def parsed(lines: bytes) -> Pairs | Malformed:
    columns = parse(lines)
    return columns if isinstance(columns, Malformed) else Pairs(columns, lines)


class TextFile:
    """A regular file of lines."""

    unit: Final = "line"

    def __init__(self, file: RegularFile) -> None:
        self.name = file.name
        self.file = file
        self.consumed = 0
        self._hash = xxh3_128()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def pieces(self, size: int, spool: Path) -> Iterator[FileRange]:  # noqa: ARG002 - every byte has its place
        """Ranges of whole lines of about `size` bytes, or of one longer line.

        A line that is too long for the format is cut; the parser then refuses it.
        """
        path, name = self.file.path, self.name
        start = 0
        with self.file.open() as descriptor:
            while block := self._read(descriptor, size):
                newline = block.rfind(b"\n") + 1
                at, self.consumed = self.consumed, self.consumed + len(block)
                if newline:
                    yield FileRange(path, name, start, at + newline - start)
                    start = at + newline
                while self.consumed - start > MAX_LINE:
                    yield FileRange(path, name, start, MAX_LINE + 1)
                    start += MAX_LINE + 1
            if start < self.consumed or not self.consumed:
                yield FileRange(path, name, start, self.consumed - start)

    def _read(self, descriptor: int, size: int) -> bytes:
        try:
            block = os.read(descriptor, size)
        except OSError as error:
            raise unreadable(self.name, error) from error
        self._hash.update(block)
        return block
