"""A sorted run: the pairs of one chunk of the data file in the order of the ring, spilled as raw columns.

Sorting happens a chunk at a time, so memory does not grow with the file; `dataset.merge` then reads from every
run the slice that belongs to the same range of the ring.
"""

from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.position import partition_shift
from dataset.text import Columns

ARCS: Final = 4096
"""Equal arcs of the ring, of which each run says where they begin in its columns: the finest slice to read."""

KEY: Final = np.dtype((np.void, 16))

_FENCES: Final = np.dtype([("row", np.int64), ("value", np.int64)])


class Rows(NamedTuple):
    """Pairs as columns: `lines` are line indices, `values` the bytes of all values, of `lengths` each."""

    positions: NDArray[np.uint64]
    keys: NDArray[np.void]
    lines: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    values: NDArray[np.uint8]


def sort_rows(chunk: bytes, columns: Columns) -> Rows:
    """The pairs of a parsed chunk, ascending by position."""
    order = np.argsort(columns.positions)
    # Arrow copies chosen items of one array: this one has the values, where they are, as every other item, in
    # turn with what stands between them.
    borders = np.empty(2 * len(order) + 1, np.int64)
    borders[0:-1:2] = columns.starts
    borders[1::2] = columns.starts + columns.lengths
    borders[-1] = len(chunk)
    values = take_values(pa.py_buffer(chunk), borders, 2 * order)
    return Rows(
        columns.positions[order],
        columns.keys[order],
        order.astype(np.uint32),
        columns.lengths[order].astype(np.uint32),
        values,
    )


def take_values(data: pa.Buffer, borders: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The items of `data` that `order` names, one after the other; item i ends where item i + 1 begins."""
    items = pa.Array.from_buffers(pa.large_binary(), len(borders) - 1, [None, pa.py_buffer(borders), data])
    taken = items.take(pa.array(order))
    return np.frombuffer(taken.buffers()[2] or b"", np.uint8)


def borders_of(lengths: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where items of these lengths begin and end when they stand one after the other."""
    borders = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=borders[1:])
    return borders


def write_run(path: Path, rows: Rows) -> NDArray[np.int64]:
    """Spill the rows. Returns how many rows and how many bytes of values each arc has, of shape (2, ARCS)."""
    arcs = np.arange(ARCS, dtype=np.uint64) << np.uint64(partition_shift(ARCS))
    fences = np.empty(ARCS + 1, _FENCES)
    fences["row"] = np.append(np.searchsorted(rows.positions, arcs), len(rows.positions))
    fences["value"] = borders_of(rows.lengths)[fences["row"]]
    with path.open("wb") as file:
        for column in (fences, *rows):
            file.write(column.view(np.uint8).data)
    return np.stack([np.diff(fences["row"]), np.diff(fences["value"])])


def read_run(path: Path, first: int, last: int) -> Rows:
    """The rows of a run from arc `first` up to arc `last`, without it."""
    with path.open("rb") as file:
        start, stop, end = (_read(file, _FENCES, arc, 1)[0] for arc in (first, last, ARCS))
        base = _FENCES.itemsize * (ARCS + 1)
        count = int(stop["row"] - start["row"])
        columns = []
        for dtype in (np.dtype(np.uint64), KEY, np.dtype(np.uint32), np.dtype(np.uint32)):
            columns.append(_read(file, dtype, int(start["row"]), count, base))
            base += dtype.itemsize * int(end["row"])
        size = int(stop["value"] - start["value"])
        values = _read(file, np.dtype(np.uint8), int(start["value"]), size, base)
        return Rows._make((*columns, values))


def _read(file: BinaryIO, dtype: np.dtype[Any], at: int, count: int, base: int = 0) -> NDArray[Any]:
    file.seek(base + at * dtype.itemsize)
    return np.fromfile(file, dtype, count)
