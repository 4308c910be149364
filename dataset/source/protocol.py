"""What packing asks of a data source, whatever it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from ringkv.dataset.source.file import RegularFile
from ringkv.dataset.text import Columns, Malformed


class Pairs(NamedTuple):
    """Pairs as columns, and the bytes in which their values lie."""

    columns: Columns
    data: bytes


class Piece(Protocol):
    """Some pairs of a source, few enough to be held in memory. It is sent to a worker process, which reads it once."""

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""

    def pairs(self) -> Pairs | Malformed:
        """The pairs, or the first row that is none. Raises SourceError."""


class Named(Protocol):
    """What messages tell of a source."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def unit(self) -> Literal["line", "row"]:
        """What a pair of it is called."""


class Source(Named, Protocol):
    """Pairs in an order, read once from the first to the last."""

    @property
    def file(self) -> RegularFile | None:
        """What it is read from; None if that is a stream, which cannot be asked for again."""

    @property
    def consumed(self) -> int:
        """How many bytes have been read, compressed as they are."""

    @property
    def digest(self) -> str:
        """Once `pieces` has run out, the xxh3_128 of all bytes as they were given: 32 hex digits."""

    def pieces(self, size: int, spool: Path) -> Iterator[Piece]:
        """All pairs, in pieces of about `size` bytes; an empty source is one piece without pairs.

        What cannot be read by its place goes into files in the folder `spool`, each of which is removed by whoever
        reads its piece. Raises SourceError, and OSError where `spool` cannot be written.
        """


def place(source: Named, row: int) -> str:
    """Where a row is, counted from 1, as messages begin."""
    return f"{source.name}:{row}" if source.unit == "line" else f"{source.name}: row {row}"
