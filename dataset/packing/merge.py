"""Merging sorted runs: from their slices of the same blocks to the pairs of these blocks, each key once."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.dataset.format import KEY
from ringkv.dataset.packing.runs import Rows, Run, borders_of, take_values

DuplicatePolicy = Literal["error", "first", "last"]


class Slice(NamedTuple):
    """The rows of a run from the place `start` up to the place `stop`, without it."""

    run: Run
    start: np.void
    stop: np.void

    @property
    def rows(self) -> int:
        return int(self.stop["row"] - self.start["row"])

    @property
    def bytes(self) -> int:
        """The bytes of the rows' values."""
        return int(self.stop["value"] - self.start["value"])


class Duplicate(NamedTuple):
    """A key that stands in two rows, which are counted through all sources from 0."""

    key: str
    first: int
    second: int


def merge(slices: Sequence[Slice], policy: DuplicatePolicy) -> Rows | Duplicate:
    """The pairs of all slices, ascending by position, each key once; or a duplicate that the policy refuses."""
    rows = _gathered(slices)
    order = np.argsort(rows.positions)
    if _repeats(rows.positions[order]).any():
        lines = np.concatenate([piece.run.lines(piece.start, piece.stop) for piece in slices])
        chosen = _choose(rows, lines, policy)
        if isinstance(chosen, Duplicate):
            return chosen
        order = chosen
    values = take_values(pa.py_buffer(rows.values), borders_of(rows.lengths), order)
    return Rows(rows.positions[order], rows.keys[order], rows.lengths[order], values)


def _gathered(slices: Sequence[Slice]) -> Rows:
    """The rows of all slices, one after the other."""
    count, size = sum(piece.rows for piece in slices), sum(piece.bytes for piece in slices)
    rows = Rows(np.empty(count, np.uint64), np.empty(count, KEY), np.empty(count, np.uint32), np.empty(size, np.uint8))
    row = byte = 0
    for piece in slices:
        if piece.rows:
            own = slice(row, row := row + piece.rows)
            values = rows.values[byte : (byte := byte + piece.bytes)]
            piece.run.read_into(Rows(rows.positions[own], rows.keys[own], rows.lengths[own], values), *piece[1:])
    return rows


def _repeats(items: NDArray[Any]) -> NDArray[np.bool_]:
    """For each item but the first whether it equals the one before it: one entry less than there are items."""
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
        return Duplicate(str(key), int(lines[order[at]]), int(lines[order[at + 1]]))
    edge = [False]
    dropped = np.concatenate((edge, same) if policy == "first" else (same, edge))
    return order[~dropped]
