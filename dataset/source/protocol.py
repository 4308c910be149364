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
        """The name of the source in messages."""

    @property
    def unit(self) -> Literal["line", "row"]:
        """What messages call the place of a pair: a line or a row."""


class Source(Named, Protocol):
    """Pairs in an order, read once from the first to the last."""

    @property
    def file(self) -> RegularFile | None:
        """The file that it is read from; None for a stream, which cannot be read again."""

    @property
    def consumed(self) -> int:
        """How many bytes have been read so far; of compressed data, compressed bytes."""

    @property
    def digest(self) -> str:
        """Once `pieces` has run out, the xxh3_128 of all bytes as they were given: 32 hex digits."""

    def pieces(self, size: int, spool: Path) -> Iterator[Piece]:
        """All pairs, in pieces of about `size` bytes; an empty source is one piece without pairs.

        Pieces that workers cannot read from the source itself are written to files in the folder `spool`; whoever reads
        a piece removes its file. Raises SourceError, and OSError where `spool` cannot be written.
        """


def place(source: Named, row: int) -> str:
    """The place with which a message begins: the source, and the row, counted from 1."""
    return f"{source.name}:{row}" if source.unit == "line" else f"{source.name}: row {row}"
