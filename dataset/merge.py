"""Merging sorted runs: from their slices of one range of the ring to the finished partitions of that range.

A range is what one task holds in memory. Its partitions wait in a part file for those of the other ranges:
the packed file's footer names the dataset, which takes the checksums of all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.errors import PackingFailed
from cluster.limits import MAX_PARTITION_BYTES
from cluster.position import partition_shift
from dataset.packed import checksum, record_batch
from dataset.runs import ARCS, Rows, borders_of, read_run, take_values

DuplicatePolicy = Literal["error", "first", "last"]


class Run(NamedTuple):
    """A run's file, and how many lines of the data file stand before its chunk."""

    path: Path
    lines_before: int


@dataclass(frozen=True, slots=True)
class Range:
    """One task: merge the pieces of the ring from `first` up to `last` into the part file."""

    runs: Sequence[Run]
    partitions: int
    first: int
    last: int
    on_duplicate: DuplicatePolicy
    part: Path


class Partition(NamedTuple):
    """A finished partition: how many rows, how many bytes of values, the checksum of its columns."""

    rows: int
    size: int
    checksum: int


class Duplicate(NamedTuple):
    """A key that stands on two lines, counted from 1."""

    key: str
    first: int
    second: int


def pieces(partitions: int) -> int:
    """Into how many equal pieces ranges cut the ring: each is a whole number of arcs and of partitions."""
    return min(partitions, ARCS)


def merge_range(task: Range) -> list[Partition] | Duplicate:
    """The finished partitions, whose columns stand in the part file, or a duplicate that is refused."""
    rows, lines = _gather(task)
    order = np.argsort(rows.positions)
    if _repeats(rows.positions[order]).any():
        chosen = _choose(rows, lines, task.on_duplicate)
        if isinstance(chosen, Duplicate):
            return chosen
        order = chosen
    values = take_values(pa.py_buffer(rows.values), borders_of(rows.lengths), order)
    return _write_part(task, rows.positions[order], rows.keys[order], borders_of(rows.lengths[order]), values)


def read_part(path: Path, partitions: Sequence[Partition]) -> Iterator[pa.RecordBatch]:
    """The batches of a part file, in order."""
    data = memoryview(path.read_bytes())
    rows = sum(partition.rows for partition in partitions)
    keys = 8 * rows
    offsets = keys + 16 * rows
    values = offsets + 4 * (rows + len(partitions))
    positions = 0
    for count, size, _ in partitions:
        ends = positions + 8 * count, keys + 16 * count, offsets + 4 * (count + 1), values + size
        starts = positions, keys, offsets, values
        yield record_batch(count, *(data[start:end] for start, end in zip(starts, ends, strict=True)))
        positions, keys, offsets, values = ends


def _gather(task: Range) -> tuple[Rows, NDArray[np.int64]]:
    """The slices of all runs, one after the other, and the line of the data file that each row comes from."""
    arcs = ARCS // pieces(task.partitions)
    slices = [read_run(run.path, task.first * arcs, task.last * arcs) for run in task.runs]
    lines = [rows.lines.astype(np.int64) + run.lines_before for rows, run in zip(slices, task.runs, strict=True)]
    columns: list[Any] = [np.concatenate(column) for column in zip(*slices, strict=True)]
    return Rows(*columns), np.concatenate(lines)


def _repeats(items: NDArray[Any]) -> NDArray[np.bool_]:
    """For each item but the first, whether it equals the one before it."""
    same: NDArray[np.bool_] = items[1:] == items[:-1]
    return same


def _choose(rows: Rows, lines: NDArray[np.int64], policy: DuplicatePolicy) -> NDArray[np.int64] | Duplicate:
    """The rows that stay, ordered by position, then key: keys may share a position without being equal."""
    high, low = rows.keys.view(">u8").reshape(-1, 2).T
    order = np.lexsort((lines, low, high, rows.positions))
    same = _repeats(high[order]) & _repeats(low[order])
    if not same.any():
        return order
    if policy == "error":
        at = int(np.argmax(same))
        key = UUID(bytes=rows.keys[order[at]].tobytes())
        return Duplicate(str(key), int(lines[order[at]]) + 1, int(lines[order[at + 1]]) + 1)
    edge = [False]
    dropped = np.concatenate((edge, same) if policy == "first" else (same, edge))
    return order[~dropped]


def _write_part(
    task: Range,
    positions: NDArray[np.uint64],
    keys: NDArray[np.void],
    borders: NDArray[np.int64],
    values: NDArray[np.uint8],
) -> list[Partition]:
    width = task.partitions // pieces(task.partitions)
    numbers = np.arange(task.first * width + 1, task.last * width, dtype=np.uint64)
    inner = np.searchsorted(positions, numbers << np.uint64(partition_shift(task.partitions)))
    bytes_of_keys = keys.view(np.uint8).reshape(-1, 16)
    partitions: list[Partition] = []
    offsets: list[NDArray[np.int32]] = []
    for start, end in pairwise([0, *inner.tolist(), len(positions)]):
        low, high = int(borders[start]), int(borders[end])
        if high - low > MAX_PARTITION_BYTES:
            number = task.first * width + len(partitions)
            raise PackingFailed(
                f"partition {number} would hold {high - low} bytes of values, of {MAX_PARTITION_BYTES} at most;"
                " split the data file into several datasets"
            )
        offsets.append((borders[start : end + 1] - low).astype(np.int32))
        columns = positions[start:end], bytes_of_keys[start:end], offsets[-1], values[low:high]
        partitions.append(Partition(end - start, high - low, checksum(columns)))
    written: list[NDArray[Any]] = [positions, bytes_of_keys, *offsets, values]
    with task.part.open("wb") as file:
        for column in written:
            file.write(column.data)
    return partitions
