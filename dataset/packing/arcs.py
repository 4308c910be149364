"""Packing where different machines sort and merge: between them travel runs, each of one arc of the ring.

    split ──sort──► a run for each arc ══shuffle══► all runs of an arc ──merge──► parts ──► segments
           and a tally ═════════════════════════► how many blocks there will be

How many blocks a dataset has follows from all of its pairs, so nothing is merged before all is sorted. Moving the runs,
and repeating the tasks of lost machines, is up to an engine: this module knows none. A task that is done twice has the
same result, but for the random names of its parts.
"""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.limits import MIN_BLOCKS
from ringkv.cluster.position import SLOTS, partition_count, shift_to
from ringkv.dataset.content import RANGE
from ringkv.dataset.objects import Objects
from ringkv.dataset.packing.chunk import joined
from ringkv.dataset.packing.cuts import ranges, segments, sizes_of
from ringkv.dataset.packing.merge import Duplicate, DuplicatePolicy
from ringkv.dataset.packing.runs import PLACE, Rows, Run, borders_of, counted, run_columns, sort_rows
from ringkv.dataset.packing.segment import SegmentTask, write_segment
from ringkv.dataset.packing.splits import Seen, Split
from ringkv.dataset.source.lines import parsed
from ringkv.dataset.source.protocol import Pairs
from ringkv.dataset.source.rows import pairs_of
from ringkv.dataset.source.table import plain_rows
from ringkv.dataset.text import Malformed
from ringkv.dataset.upload import check_sent

MAX_ARCS: Final = MIN_BLOCKS
"""The most arcs there can be. Each dataset has at least as many partitions, so that an arc is a run of whole ones."""

CHUNK: Final = 32 << 20
"""Bytes that are sorted at once. Larger chunks would make fewer runs, but take more memory than engines give a task."""

SPLIT_BITS: Final = 40
"""A row is numbered by its split, and in the lower bits, which are so many, by its place in the split: how many rows
stand before a split is not known before all are sorted."""


class ArcRun(NamedTuple):
    """A run of one arc on its way: its rows, the number of the first row of its chunk, and the run itself."""

    arc: int
    rows: int
    rows_before: int
    data: bytes


class Tally(NamedTuple):
    """What a split had: its rows, the bytes of their values, the bytes read and their digest, and what was wrong."""

    split: int
    rows: int
    values: int
    consumed: int
    digest: str
    malformed: Malformed | None


class Part(NamedTuple):
    """A segment that was written to a store under the name `name`, as `Segment` and `SegmentEntry` tell it."""

    name: str
    size: int
    first: int
    last: int
    values: int
    blocks: NDArray[np.void]


class Merged(NamedTuple):
    """A merged arc: how many rows it had, and its parts in order."""

    rows: int
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Merge:
    """How all arcs are merged, and where their parts are written.

    `chunk` is about how many bytes are held in memory at once, `segment_size` about how many bytes a part gets.
    """

    location: str
    folder: str
    arcs: int
    blocks: int
    on_duplicate: DuplicatePolicy
    chunk: int
    segment_size: int


def arc_count(tasks: int) -> int:
    """The number of arcs that gives each of so many tasks one, up to MAX_ARCS: a power of two."""
    return min(1 << max(0, tasks - 1).bit_length(), MAX_ARCS)


def sort_split(number: int, split: Split, arcs: int, chunk: int) -> Iterator[ArcRun | Tally]:
    """The runs of a split, and then its tally. Raises SourceError, StoreError."""
    seen = Seen()
    yield from _sort(number, map(parsed, split.pieces(chunk, seen)), arcs, seen)


def sort_frame(number: int, batches: Iterable[Any], arcs: int, chunk: int) -> Iterator[ArcRun | Tally]:
    """The same of a part of a table, given as record batches of two columns of bytes, `key` and `value`."""
    yield from _sort(number, _chunks(batches, chunk), arcs, Seen())


def merge_arc(task: Merge, arc: int, runs: Iterable[ArcRun], scratch: Path) -> Merged | Duplicate:
    """Merge all runs of an arc, which are kept in `scratch` meanwhile, into parts.

    Raises StoreError, PackingFailed, OSError.
    """
    width = SLOTS // task.arcs
    slots = np.zeros((2, SLOTS), np.int64)
    spooled = list(_spooled(runs, scratch / "runs", slots, range(arc * width, (arc + 1) * width)))
    per_partition = SLOTS // partition_count(task.blocks)
    sizes = sizes_of(slots)
    own = sizes[arc * width : (arc + 1) * width].reshape(-1, per_partition).sum(axis=1)
    begin = arc * width // per_partition
    parts: list[Part] = []
    for first, last in segments(own, task.segment_size):
        part = _part(task, tuple(spooled), sizes, (begin + first, begin + last), scratch / "segment")
        if isinstance(part, Duplicate):
            return part
        parts.append(part)
    return Merged(int(slots[0].sum()), parts)


def _chunks(batches: Iterable[Any], size: int) -> Iterator[Pairs | Malformed]:
    """The rows of batches in chunks of about `size` bytes."""
    held: list[Pairs] = []
    taken = rows = 0
    for batch in batches:
        pairs = pairs_of(plain_rows(batch))
        if isinstance(pairs, Malformed):
            yield Malformed(rows + pairs.line, pairs.reason)
            return
        held.append(pairs)
        taken, rows = taken + batch.nbytes, rows + batch.num_rows
        if taken >= size:
            yield joined(held)
            held, taken, rows = [], 0, 0
    if held:
        yield joined(held)


def _sort(number: int, chunks: Iterable[Pairs | Malformed], arcs: int, seen: Seen) -> Iterator[ArcRun | Tally]:
    rows = values = 0
    malformed = None
    for pairs in chunks:
        if isinstance(pairs, Malformed):
            malformed = Malformed(rows + pairs.line, pairs.reason)
            break
        yield from _runs(pairs, (number << SPLIT_BITS) + rows, arcs)
        rows += len(pairs.columns.positions)
        values += int(pairs.columns.lengths.sum())
    yield Tally(number, rows, values, seen.count, seen.hash.hexdigest(), malformed)


def _runs(pairs: Pairs, rows_before: int, arcs: int) -> Iterator[ArcRun]:
    """The runs of a chunk, of each arc that it has rows of."""
    rows, lines = sort_rows(pairs.data, pairs.columns)
    begins = np.arange(1, arcs, dtype=np.uint64) << np.uint64(shift_to(arcs) % 64)
    edges = [0, *np.searchsorted(rows.positions, begins).tolist(), len(rows.positions)]
    borders = borders_of(rows.lengths)
    width = SLOTS // arcs
    for arc, (start, end) in enumerate(pairwise(edges)):
        if start < end:
            own = slice(start, end)
            values = rows.values[borders[start] : borders[end]]
            part = Rows(rows.positions[own], rows.keys[own], rows.lengths[own], values)
            columns = run_columns(part, lines[own], arc * width, (arc + 1) * width)
            yield ArcRun(arc, end - start, rows_before, b"".join(column.view(np.uint8).data for column in columns))


def _spooled(runs: Iterable[ArcRun], path: Path, slots: NDArray[np.int64], own: range) -> Iterator[Run]:
    """Write all runs into one file. The rows and bytes of each slot are added to `slots`."""
    with path.open("wb") as file:
        for run in runs:
            yield Run(path, run.rows, run.rows_before, file.tell(), own.start, own.stop)
            file.write(run.data)
            slots[:, own.start : own.stop] += counted(np.frombuffer(run.data, PLACE, len(own) + 1))


def _part(
    task: Merge, runs: tuple[Run, ...], sizes: NDArray[np.int64], partitions: tuple[int, int], path: Path
) -> Part | Duplicate:
    """Write the segment of these partitions, upload it as a part, and read it back."""
    first, last = partitions
    per_partition = SLOTS // partition_count(task.blocks)
    cuts = tuple(ranges(sizes, task.blocks, (first * per_partition, last * per_partition), task.chunk))
    done = write_segment(SegmentTask(runs, task.blocks, first, last, cuts, task.on_duplicate, path))
    if isinstance(done, Duplicate):
        return done
    objects = Objects.at(task.location)
    # Two attempts at one task write parts of different names, and the result that counts names its own.
    name = f"{task.folder}/{first:05}-{secrets.token_hex(8)}.arrow"
    objects.create(name, path)
    for at in range(0, done.size, RANGE):
        check_sent(path, objects, name, range(at, min(at + RANGE, done.size)))
    return Part(name, done.size, first, last, done.values, done.blocks)
