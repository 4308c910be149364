"""Writing a segment: a run of partitions, merged a few blocks at a time into the Arrow file that will be served."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.errors import PackingFailed
from ringkv.cluster.limits import MAX_SEGMENT_BYTES
from ringkv.dataset.format import BLOCK_ROW, SEGMENT_SCHEMA, footer
from ringkv.dataset.packing.blocks import blocks_of
from ringkv.dataset.packing.merge import Duplicate, DuplicatePolicy, Slice, merge
from ringkv.dataset.packing.runs import Run
from ringkv.process.priority import Stretches

BUFFER: Final = 1 << 20
"""Bytes that are collected before they are written to the file: Arrow writes a batch as a dozen small pieces."""


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """One task: the segment of partitions `first` up to `last`, without it, of a ring of so many `blocks`.

    `cuts` are ascending numbers of blocks, from the segment's first to the one behind its last: the blocks between two
    cuts are held in memory together.
    """

    runs: tuple[Run, ...]
    blocks: int
    first: int
    last: int
    cuts: tuple[int, ...]
    on_duplicate: DuplicatePolicy
    path: Path


class Segment(NamedTuple):
    """A finished segment: the size of its file, the bytes of all its values, and its rows of blocks.arrow."""

    size: int
    values: int
    blocks: NDArray[np.void]


def write_segment(task: SegmentTask) -> Segment | Duplicate:
    """Write the segment's file, or return a duplicate that the policy refuses. Raises OSError, PackingFailed."""
    places = [run.places(task.cuts, task.blocks) for run in task.runs]
    table: list[tuple[int, int, int, int]] = []
    values = 0
    stretches = Stretches()
    with pa.BufferedOutputStream(pa.OSFile(os.fsencode(task.path), "wb"), BUFFER) as sink:
        with pa.ipc.new_file(sink, SEGMENT_SCHEMA, metadata=footer(task.first, task.last)) as writer:
            for number, (first, last) in enumerate(pairwise(task.cuts)):
                found = zip(task.runs, places, strict=True)
                rows = merge([Slice(run, at[number], at[number + 1]) for run, at in found], task.on_duplicate)
                if isinstance(rows, Duplicate):
                    return rows
                values += len(rows.values)
                for block in blocks_of(rows, first, last, task.blocks):
                    writer.write_batch(block.batch)
                    table.append((block.keys, block.bytes, block.checksum, sink.tell() - block.bytes))
                    stretches.give_way()
                _check_size(task, sink.tell())
        size: int = sink.tell()
    return Segment(size, values, np.array(table, BLOCK_ROW))


def _check_size(task: SegmentTask, size: int) -> None:
    if size > MAX_SEGMENT_BYTES:
        raise PackingFailed(
            f"partition {task.first} would take more than {MAX_SEGMENT_BYTES} bytes;"
            " split the data into several datasets"
        )
