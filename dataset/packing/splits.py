r"""Text that many machines read at once: each takes a range of bytes, and reads the lines that start in it.

    text   │aaaa\nbbbbbbbbbbbbbbb\ncc\ndddd\n│
    ranges │0          │10         │20       │
    lines  │aaaa bbbbb…│           │cc dddd  │

So nobody has to read a whole text to find its lines before the others can begin. Compressed text has no ranges: one
machine reads all of it. This module knows no engine.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple

from xxhash import xxh3_128

from ringkv.cluster.errors import NoSuchObject, SourceError
from ringkv.dataset.objects import PART, Listed, Objects, is_url
from ringkv.dataset.source.file import changed
from ringkv.dataset.source.find import find
from ringkv.dataset.source.stream import COMPRESSIONS, MAGIC_SIZE, TABLES, decompressed, kind, read_text
from ringkv.dataset.text import MAX_LINE

LOOK: Final = 64 << 10
"""Bytes that are read at first to find the end of a line."""

LOOKS_AT_ONCE: Final = 16

FRAME: Final = "read it as a DataFrame, and give that to ringkv.dataset.packing.spark.publish"


@dataclass(frozen=True, slots=True)
class Text:
    """A file or an object of lines: the folder that holds it, by its path or address on every machine, and its entry.

    `name` is what messages call it.
    """

    name: str
    folder: str
    found: Listed
    compression: str | None

    @property
    def unit(self) -> Literal["line"]:
        return "line"

    @property
    def size(self) -> int:
        return self.found.size

    @property
    def path(self) -> Path | None:
        """Its path, if it is a file of this machine."""
        folder = _objects(self.folder).path
        return folder and folder / self.found.name

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, without it. Raises StoreError."""
        objects = _objects(self.folder)
        parts = [
            objects.read_range(self.found.name, at, min(at + PART, end)) for at in range(start, max(start, end), PART)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def line_from(self, at: int) -> int:
        """The start of the first line that starts at byte `at` or behind it.

        A line that is too long for the format is cut; the parser then refuses it.
        """
        limit = min(self.size, at + MAX_LINE + 1)
        place, step = at - 1, LOOK
        while 0 <= place < limit:
            some = self.read(place, min(place + step, limit))
            if (newline := some.find(b"\n")) >= 0:
                return place + newline + 1
            place, step = place + len(some), min(4 * step, PART)
        return limit if at else 0


class Seen:
    """How many bytes of a source have been read, and their xxh3_128."""

    def __init__(self) -> None:
        self.count = 0
        self.hash = xxh3_128()

    def update(self, data: bytes | memoryview) -> None:
        self.count += len(data)
        self.hash.update(data)


class Split(NamedTuple):
    """The lines of a text that start in a range of its bytes, or all lines of a compressed one."""

    text: Text
    start: int
    end: int

    def pieces(self, size: int, seen: Seen) -> Iterator[bytes]:
        """Whole lines, of a compressed text in pieces of about `size` bytes. `seen` is updated with all bytes read.

        Raises SourceError, StoreError.
        """
        text = self.text
        if text.compression is None:
            lines = text.read(text.line_from(self.start), text.line_from(self.end))
            seen.update(lines)
            yield lines
            return
        yield from _whole_lines(decompressed(_Reader(text, seen), text.compression), size, text)


def splits(texts: Iterable[Text], size: int) -> list[Split]:
    """All texts, cut into ranges of about `size` bytes."""
    return [
        Split(text, start, min(start + size, text.size) if text.compression is None else text.size)
        for text in texts
        for start in (range(0, text.size, size) if text.compression is None else [0])
    ]


def find_texts(locations: Sequence[str]) -> list[Text]:
    """The texts at these paths and addresses, in order; a folder's, or a prefix's, in the order of their names.

    Raises SourceError for what is no text, or cannot be read by several machines, and StoreError.
    """
    return [text for location in locations for text in (_in_store(location) if is_url(location) else _here(location))]


def check_unchanged(texts: Sequence[Text]) -> None:
    """Raise SourceError if one of them is not what it was when it was found."""

    def check(text: Text) -> None:
        if _objects(text.folder).look(text.found.name) != text.found:
            raise changed(text.name)

    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        list(pool.map(check, texts))


@cache
def _objects(folder: str) -> Objects:
    return Objects.at(folder)


def _whole_lines(reader: IO[bytes], size: int, text: Text) -> Iterator[bytes]:
    rest = b""
    while block := read_text(reader, size, text.name, text.compression):
        rest += block
        if end := rest.rfind(b"\n") + 1 or (len(rest) if len(rest) > MAX_LINE else 0):
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _here(location: str) -> Iterator[Text]:
    for source in find([Path(location)]):
        if source.file is None:
            raise SourceError(
                f"{source.name}: is a stream, which several machines cannot read; give the path of a file"
            )
        path = source.file.path
        yield _text(source.name, str(path.parent), _objects(str(path.parent)).look(path.name))


def _in_store(location: str) -> Iterator[Text]:
    folder, _, name = location.rstrip("/").rpartition("/")
    try:
        yield _text(location, folder, _objects(folder).look(name))
    except NoSuchObject:
        objects = _objects(location)
        # Without what is empty: that has no lines, and may be the mark of a folder, which is not found by its name.
        listed = sorted(one for one in objects.list() if one.size)
        found = [one for one in listed if not any(part.startswith((".", "_")) for part in one.name.split("/"))]
        if not found:
            raise SourceError(f"{location}: no such object, and no folder with data") from None
        for one in found:
            yield _text(objects.place(one.name), location, one)


def _text(name: str, folder: str, found: Listed) -> Text:
    head = _objects(folder).read_range(found.name, 0, min(MAGIC_SIZE, found.size)) if found.size else b""
    if table := kind(head, TABLES):
        raise SourceError(f"{name}: is a table, {table}; {FRAME}")
    return Text(name, folder, found, kind(head, COMPRESSIONS))


class _Reader(io.RawIOBase):
    """All bytes of a text, one after the other."""

    def __init__(self, text: Text, seen: Seen) -> None:
        self._text = text
        self._seen = seen
        self._at = 0
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            end = min(self._at + PART, self._text.size)
            self._held = memoryview(self._text.read(self._at, end))
            self._seen.update(self._held)
            self._at = end
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._held))
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
