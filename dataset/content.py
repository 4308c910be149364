"""All blocks of a dataset, read in order and checked, wherever it lies: for comparing and verifying.

Nothing is kept: of a dataset in a store only the manifest and the tables are copied, for as long as it is open.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import CorruptBlock, InvalidDataset, StoreError
from ringkv.dataset.block import Row, damage
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS
from ringkv.dataset.manifest import Manifest, parse_manifest
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.inflight import in_order
from ringkv.dataset.packing.workspace import workspace
from ringkv.process.priority import Stretches

RANGE: Final = 4 << 20
"""Bytes that are read at once: so many take a store about as long as the request itself, and READERS of them fit into
any memory."""

READERS: Final = 4

GAP: Final = 4 << 10
"""The largest gap between two blocks, in bytes, that is read with them: Arrow writes 230 bytes between neighbours."""


class Block(NamedTuple):
    """A block that was read: its number, its row, its body."""

    number: int
    row: Row
    body: bytes


class Span(NamedTuple):
    """Blocks of one segment that are read at once."""

    segment: int
    start: int
    end: int
    blocks: list[tuple[int, Row]]


class Content:
    """`dataset` has the manifest and the tables; `place` is the path or address of the dataset, for messages."""

    def __init__(self, dataset: Dataset, place: str, read: Callable[[int, int, int], bytes]) -> None:
        """`read` gives the bytes of a segment, by its number, from one offset up to another."""
        self.dataset = dataset
        self.manifest = dataset.manifest
        self.place = place
        self._read = read

    def rows(self, first: int, last: int) -> NDArray[np.void]:
        """The rows of the blocks from `first` up to `last`, without it. Raises CorruptBlock."""
        width = self.manifest.blocks_per_partition
        begin = first // width
        found = [self.dataset.blocks_of(partition) for partition in range(begin, -(-last // width))]
        return np.concatenate(found)[first - begin * width : last - begin * width]

    def blocks(self, numbers: Iterable[int]) -> Iterator[Block]:
        """These blocks, given in ascending order, without those that hold no keys. Raises CorruptBlock, StoreError."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(READERS))
            reads = in_order(lambda: pool, self._fetched, self._spans(numbers), READERS)
            stretches = Stretches()
            for span, data in stack.enter_context(closing(reads)):
                for number, row in span.blocks:
                    body = data[row.offset - span.start : row.offset - span.start + row.size]
                    if wrong := damage(body, row):
                        raise self._corrupt(number, wrong)
                    yield Block(number, row, body)
                    stretches.give_way()

    def _fetched(self, span: Span) -> tuple[Span, bytes]:
        try:
            return span, self._read(span.segment, span.start, span.end)
        except OSError as error:
            raise self._corrupt(span.blocks[0][0], f"cannot be read: {error.strerror}") from error

    def _spans(self, numbers: Iterable[int]) -> Iterator[Span]:
        span: Span | None = None
        for number, row in self._rows_of(numbers):
            segment = self.dataset.segment_of(number // self.manifest.blocks_per_partition)
            end = row.offset + row.size
            if span and span.segment == segment and 0 <= row.offset - span.end <= GAP and end - span.start <= RANGE:
                span.blocks.append((number, row))
                span = span._replace(end=end)
                continue
            if span:
                yield span
            span = Span(segment, row.offset, end, [(number, row)])
        if span:
            yield span

    def _rows_of(self, numbers: Iterable[int]) -> Iterator[tuple[int, Row]]:
        width = self.manifest.blocks_per_partition
        partition, rows = -1, []
        for number in numbers:
            if number // width != partition:
                partition = number // width
                rows = self.dataset.blocks_of(partition).tolist()
            row = Row._make(rows[number % width])
            if row.size:
                yield number, row

    def _corrupt(self, number: int, reason: str) -> CorruptBlock:
        return CorruptBlock(f"{self.place}: block {number} is corrupt: {reason}; publish its source again")


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    """The content of a dataset on this machine, which stays locked meanwhile. Raises InvalidDataset."""
    with Dataset.open(path) as dataset:
        segments = dataset.segments
        yield Content(dataset, str(path), lambda number, start, end: segments[number].read(start, end - start))


@contextmanager
def opened_in(objects: Objects, folder: str) -> Iterator[Content]:
    """The content of the dataset in a folder of these objects; "" if they are the dataset themselves.

    It is whole, as far as manifest, tables and segments are there, fit each other, and have the right sizes. Raises
    InvalidDataset, NoSuchObject, StoreError.
    """
    if objects.path is not None:
        with opened(objects.path / folder) as content:
            yield content
        return
    prefix, place = _prefix(folder), objects.place(folder)
    with ExitStack() as stack:
        copy = stack.enter_context(_tables(objects, folder))
        stack.enter_context(_naming(copy, place))
        dataset = stack.enter_context(Dataset.open(copy))
        names = [prefix + entry.name for entry in dataset.manifest.segments]
        yield Content(dataset, place, lambda number, start, end: objects.read_range(names[number], start, end))


@contextmanager
def _tables(objects: Objects, folder: str) -> Iterator[Path]:
    """A local folder with the same manifest and tables, whose segments are nothing but holes: so it can be opened."""
    prefix, place = _prefix(folder), objects.place(folder)
    files = {name: objects.read(prefix + name) for name in (MANIFEST, PARTITIONS, BLOCKS)}
    manifest = parse_manifest(Path(place), files[MANIFEST])
    _check_sizes(objects, folder, manifest)
    temporary = Path(tempfile.gettempdir(), "tables")
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(workspace(temporary)) / "dataset"
            copy.mkdir()
            for entry in manifest.segments:
                with (copy / entry.name).open("wb") as file:
                    os.truncate(file.fileno(), entry.size)
            for name, data in files.items():
                (copy / name).write_bytes(data)
        except (OSError, ValueError) as error:
            raise StoreError(f"{temporary.parent}: the tables of {place} cannot be written there: {error}") from error
        yield copy


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _check_sizes(objects: Objects, folder: str, manifest: Manifest) -> None:
    prefix = _prefix(folder)
    sizes = {listed.name: listed.size for listed in objects.list(folder)}
    for entry in manifest.segments:
        found = sizes.get(prefix + entry.name)
        place = objects.place(prefix + entry.name)
        if found is None:
            raise InvalidDataset(f"{place}: no such object; publish the source of the dataset again")
        if found != entry.size:
            raise InvalidDataset(
                f"{place}: has {found:,} bytes, but its manifest says {entry.size:,};"
                " publish the source of the dataset again"
            )


@contextmanager
def _naming(copy: Path, place: str) -> Iterator[None]:
    """Replace the path of the copy in error messages by the place in the store."""
    try:
        yield
    except (InvalidDataset, CorruptBlock) as error:
        raise type(error)(str(error).replace(str(copy), place)) from error
