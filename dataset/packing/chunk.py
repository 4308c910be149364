"""Sorting a chunk: from pieces of sources to one sorted run, or to the first row that cannot be in one."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.dataset.packing.runs import sort_rows, write_run
from ringkv.dataset.source.protocol import Pairs, Piece, Source
from ringkv.dataset.text import Columns, Malformed


class Chunk(NamedTuple):
    """One task: consecutive pieces of sources, and the path of the run to write."""

    pieces: Sequence[Piece]
    run: Path


class Sorted(NamedTuple):
    """A finished run: how many rows each piece has, and rows and bytes of values by slot, of shape (2, SLOTS)."""

    rows: list[int]
    slots: NDArray[np.int64]


class Rejected(NamedTuple):
    """A chunk with a row that is no pair: the rows of the pieces before, and what is wrong in the piece after them."""

    rows: list[int]
    malformed: Malformed


def groups(pieces: Iterable[tuple[Source, Piece]], size: int) -> Iterator[list[tuple[Source, Piece]]]:
    """The pieces of all sources in groups of about `size` bytes, so that many small files make few runs."""
    group: list[tuple[Source, Piece]] = []
    held = 0
    for source, piece in pieces:
        group.append((source, piece))
        held += piece.size
        # Half full is enough: reading on would keep a worker waiting.
        if 2 * held > size:
            yield group
            group, held = [], 0
    if group:
        yield group


def sort_chunk(task: Chunk) -> Sorted | Rejected:
    """Turn a chunk into a sorted run, or find its first row that is no pair."""
    found: list[Pairs] = []
    for piece in task.pieces:
        pairs = piece.pairs()
        if isinstance(pairs, Malformed):
            return Rejected(_rows(found), pairs)
        found.append(pairs)
    columns, data = joined(found)
    return Sorted(_rows(found), write_run(task.run, *sort_rows(data, columns)))


def _rows(found: Sequence[Pairs]) -> list[int]:
    return [len(pairs.columns.positions) for pairs in found]


def joined(found: Sequence[Pairs]) -> Pairs:
    """The pairs of all of them, one after the other."""
    if len(found) == 1:
        return found[0]
    parts = [pairs.columns for pairs in found]
    shifts = np.cumsum([0, *(len(pairs.data) for pairs in found[:-1])])
    columns = Columns(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.starts + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.lengths for part in parts]),
    )
    return Pairs(columns, b"".join(pairs.data for pairs in found))
