"""Text that can only be read from its beginning to its end: pipes and compressed files, in which there is no seeking.

    descriptor ──► Tally ─────────► decompressor, if the first ──► whole lines ──► files in the spool
                   counts, hashes   bytes call for one                             read by workers

The bytes go to workers through files and not through the pool's own pipes: so memory holds one piece, and not one for
each task under way.
"""

import io
import lzma
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa
from xxhash import xxh3_128

from ringkv.cluster.errors import SourceError
from ringkv.dataset.source.file import RegularFile, unreadable
from ringkv.dataset.source.lines import parsed
from ringkv.dataset.source.protocol import Pairs
from ringkv.dataset.text import MAX_LINE, Malformed

COMPRESSIONS: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
"""How compressed data begin. No well-formed line begins like any of them."""

TABLES: Final = {b"PAR1": "Parquet", b"ARROW1": "Arrow"}
"""How tables begin. They are read from their end, and so not from a stream."""

MAGIC_SIZE: Final = max(map(len, (*COMPRESSIONS, *TABLES)))


def kind(head: bytes, kinds: dict[bytes, str]) -> str | None:
    """Which of these kinds of data begins like `head`; None if none does."""
    return next((name for magic, name in kinds.items() if head.startswith(magic)), None)


class Spooled(NamedTuple):
    """A piece: whole lines in a file of their own, which is removed when they are read.

    `closed`: the last line must end with a newline, where nothing else tells a stream's end from its being cut off.
    """

    path: Path
    size: int
    closed: bool

    def pairs(self) -> Pairs | Malformed:
        lines = self.path.read_bytes()
        self.path.unlink()
        pairs = parsed(lines)
        if self.closed and lines and not lines.endswith(b"\n") and isinstance(pairs, Pairs):
            return Malformed(
                lines.count(b"\n"), "the stream ends within this line; if it is whole, end it with a newline"
            )
        return pairs


class TextStream:
    """Lines from a descriptor. `file` is where they are read from, None if that is nothing that can be read again."""

    unit: Final = "line"

    def __init__(self, name: str, opened: Callable[[], AbstractContextManager[int]], file: RegularFile | None) -> None:
        self.name = name
        self.file = file
        self._opened = opened
        self._tally = _Tally()

    @property
    def consumed(self) -> int:
        return self._tally.count

    @property
    def digest(self) -> str:
        return self._tally.hash.hexdigest()

    def pieces(self, size: int, spool: Path) -> Iterator[Spooled]:
        """Files of whole lines. A line that is too long for the format is cut; the parser then refuses it."""
        with self._opened() as descriptor:
            compression = kind(self._tally.begin(descriptor, self.name), COMPRESSIONS)
            parts = self._parts(compression, size)
            closed = not (self.file or compression)
            for number in count():
                with NamedTemporaryFile(dir=spool, delete=False) as file:
                    more = _write(file, parts)
                    written = file.tell()
                if more or written or not number:
                    yield Spooled(Path(file.name), written, closed)
                if not more:
                    return

    def _parts(self, compression: str | None, size: int) -> Iterator[tuple[memoryview, bool]]:
        """The text in parts, each with whether a piece ends behind it."""
        reader = decompressed(self._tally, compression)
        unfinished = 0
        while block := read_text(reader, size, self.name, compression):
            newline = block.rfind(b"\n") + 1
            unfinished = len(block) - newline + (0 if newline else unfinished)
            view = memoryview(block)
            if newline:
                yield view[:newline], True
            yield view[newline:], unfinished > MAX_LINE
            if unfinished > MAX_LINE:
                unfinished = 0


def read_text(reader: IO[bytes], size: int, name: str, compression: str | None) -> bytes:
    """The next bytes, `size` of them unless it ends before. Raises SourceError."""
    try:
        return reader.read(size)
    except (OSError, EOFError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:
            raise unreadable(name, error) from error
        raise SourceError(f"{name}: its {compression} data are damaged or cut off: {error}") from error


def _write(file: IO[bytes], parts: Iterator[tuple[memoryview, bool]]) -> bool:
    """Write parts up to the end of a piece. False if there are no more."""
    for part, ends in parts:
        file.write(part)
        if ends:
            return True
    return False


def decompressed(raw: io.RawIOBase, compression: str | None) -> Any:
    """A binary file object that reads the decompressed text."""
    if compression is None:
        return io.BufferedReader(raw)
    if compression == "xz":
        return lzma.LZMAFile(io.BufferedReader(raw))
    # Arrow notices an end that comes too early, and goes on where one compressed stream follows another.
    return pa.CompressedInputStream(raw, compression)


class _Tally(io.RawIOBase):
    """The bytes of a descriptor, counted and hashed as they are read."""

    def __init__(self) -> None:
        self.count = 0
        self.hash = xxh3_128()
        self._descriptor = -1
        self._head = b""

    def begin(self, descriptor: int, name: str) -> bytes:
        """Read from `descriptor` from now on. Returns its first bytes, which `readinto` gives once more."""
        self._descriptor = descriptor
        try:
            while len(self._head) < MAGIC_SIZE and (some := os.read(descriptor, MAGIC_SIZE - len(self._head))):
                self._head += some
        except OSError as error:
            raise unreadable(name, error) from error
        table = kind(self._head, TABLES)
        if table:
            raise SourceError(f"{name}: is a table, {table}, which cannot be read from a stream; give its path")
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = os.readv(self._descriptor, [view])
        self.count += count
        self.hash.update(view[:count])
        return count
