"""A sorted run: the pairs of one chunk of the data in the order of the ring, spilled as raw columns.

Sorting happens a chunk at a time, so memory does not grow with the data; merging then reads from every run the slice
that belongs to the same blocks.

    places │ positions │ keys │ lines │ lengths │ values
    └ where each slot begins: its first row, and the first byte of that row's value

Where machines share no files (`ringkv.dataset.packing.arcs`), a chunk becomes a run for each arc of the ring instead.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.position import SLOTS, shift_to
from ringkv.dataset.arrays import to_arrow
from ringkv.dataset.text import Columns

PLACE: Final = np.dtype([("row", np.int64), ("value", np.int64)])
"""A place in a run: a row, and where in the bytes of all values those of this row begin."""


class Rows(NamedTuple):
    """Pairs as columns: `values` are the bytes of all values, one after the other, `lengths` how many each has."""

    positions: NDArray[np.uint64]
    keys: NDArray[np.void]
    lengths: NDArray[np.uint32]
    values: NDArray[np.uint8]


class Run(NamedTuple):
    """A run's file, its rows, and how many rows of all sources stand before its chunk.

    It begins at byte `at` of the file, and has the slots from `first_slot` up to `last_slot`, without it.
    """

    path: Path
    rows: int
    rows_before: int
    at: int = 0
    first_slot: int = 0
    last_slot: int = SLOTS

    def places(self, cuts: Sequence[int], blocks: int) -> NDArray[np.void]:
        """Where these blocks begin, of `blocks` on the whole ring; in ascending order, the last may be `blocks`."""
        slots = [cut * SLOTS // blocks for cut in cuts]
        first = slots[0]
        with self._open() as descriptor:
            known = np.empty(min(slots[-1] + 1, self.last_slot) - first + 1, PLACE)
            _read(descriptor, known, self.at + (first - self.first_slot) * PLACE.itemsize)
            places: NDArray[np.void] = known[np.array(slots) - first]
            for number, (cut, slot) in enumerate(zip(cuts, slots, strict=True)):
                if cut * SLOTS % blocks:
                    low, high = known[slot - first], known[slot - first + 1]
                    places[number] = self._within(descriptor, cut << shift_to(blocks), low, high)
        return places

    def read_into(self, rows: Rows, start: np.void, stop: np.void) -> None:
        """Fill `rows`, which have room for just these, with those from one place up to another."""
        row, value = int(start["row"]), int(start["value"])
        with self._open() as descriptor:
            _read(descriptor, rows.positions, self._columns_at + 8 * row)
            _read(descriptor, rows.keys, self._columns_at + 8 * self.rows + 16 * row)
            _read(descriptor, rows.lengths, self._lengths_at(row))
            _read(descriptor, rows.values, self._lengths_at(self.rows) + value)
        assert stop["row"] - start["row"] == len(rows.positions)

    def lines(self, start: np.void, stop: np.void) -> NDArray[np.int64]:
        """For each of the rows from one place up to another its number, counted through all sources from 0."""
        lines = np.empty(int(stop["row"] - start["row"]), np.uint32)
        with self._open() as descriptor:
            _read(descriptor, lines, self._columns_at + 24 * self.rows + 4 * int(start["row"]))
        return lines.astype(np.int64) + self.rows_before

    @property
    def _columns_at(self) -> int:
        return self.at + PLACE.itemsize * (self.last_slot - self.first_slot + 1)

    def _lengths_at(self, row: int) -> int:
        return self._columns_at + 28 * self.rows + 4 * row

    def _within(self, descriptor: int, position: int, low: np.void, high: np.void) -> tuple[int, int]:
        """The place of the first row at `position` or behind it, between two places."""

        def at(row: int) -> int:
            return int.from_bytes(os.pread(descriptor, 8, self._columns_at + 8 * row), "little")

        start = int(low["row"])
        row = bisect_left(range(int(high["row"])), position, start, key=at)
        lengths = np.empty(row - start, np.uint32)
        _read(descriptor, lengths, self._lengths_at(start))
        return row, int(low["value"]) + int(lengths.sum(dtype=np.int64))

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def sort_rows(chunk: bytes, columns: Columns) -> tuple[Rows, NDArray[np.uint32]]:
    """The pairs of a parsed chunk, ascending by position, and which row of the chunk each of them was."""
    order = np.argsort(columns.positions)
    # Arrow's take() copies chosen items of an array. So the chunk is seen as an array in which values and the text
    # between them take turns: item 2i is value i, item 2i + 1 what stands between it and the next one.
    borders = np.empty(2 * len(order) + 1, np.int64)
    borders[0:-1:2] = columns.starts
    borders[1::2] = columns.starts + columns.lengths
    borders[-1] = len(chunk)
    values = take_values(pa.py_buffer(chunk), borders, 2 * order)
    rows = Rows(columns.positions[order], columns.keys[order], columns.lengths[order].astype(np.uint32), values)
    return rows, order.astype(np.uint32)


def take_values(data: pa.Buffer, borders: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The items of `data` that `order` names, one after the other; item i lies between borders i and i + 1."""
    items = pa.Array.from_buffers(pa.large_binary(), len(borders) - 1, [None, pa.py_buffer(borders), data])
    taken = items.take(to_arrow(order))
    return np.frombuffer(taken.buffers()[2] or b"", np.uint8)


def borders_of(lengths: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The borders of items of these lengths that stand one after the other: one more than there are items."""
    borders = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=borders[1:])
    return borders


def write_run(path: Path, rows: Rows, lines: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Spill the rows. Returns how many rows and how many bytes of values each slot has, of shape (2, SLOTS)."""
    columns = run_columns(rows, lines)
    with path.open("wb") as file:
        for column in columns:
            file.write(column.view(np.uint8).data)
    return counted(columns[0])


def run_columns(
    rows: Rows, lines: NDArray[np.uint32], first_slot: int = 0, last_slot: int = SLOTS
) -> list[NDArray[Any]]:
    """The arrays of which a run consists, in their order; all rows are of the slots up to `last_slot`, without it."""
    slots = np.arange(first_slot, last_slot, dtype=np.uint64) << np.uint64(shift_to(SLOTS))
    places = np.empty(len(slots) + 1, PLACE)
    places["row"] = np.append(np.searchsorted(rows.positions, slots), len(rows.positions))
    places["value"] = borders_of(rows.lengths)[places["row"]]
    return [places, rows.positions, rows.keys, lines, rows.lengths, rows.values]


def counted(places: NDArray[np.void]) -> NDArray[np.int64]:
    """How many rows and how many bytes of values each slot has, of shape (2, slots)."""
    return np.stack([np.diff(places["row"]), np.diff(places["value"])])


def _read(descriptor: int, into: NDArray[Any], at: int) -> None:
    """Fill the array from the file."""
    view = into.view(np.uint8).data
    while view.nbytes:
        done = os.preadv(descriptor, [view], at)
        if not done:
            raise OSError(f"a run ends at byte {at}, before it should")
        view, at = view[done:], at + done
