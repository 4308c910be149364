"""Packing: from the data file to the packed file, by an external sort whose work is shared among processes.

    data file ──► chunks of whole lines ──► sorted runs ──► ranges of the ring ──► part files ──► packed file
                  cut here                  workers         merged by workers                     written here

Memory is bounded by the size of a chunk and the number of workers, not by the size of the file.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.errors import DuplicateKey, MalformedLine, PackingFailed
from cluster.position import partition_count
from dataset.inflight import cores, in_order, worker_pool
from dataset.merge import Duplicate, DuplicatePolicy, Partition, Range, Run, merge_range, pieces, read_part
from dataset.packed import Header, dataset_id, write
from dataset.runs import ARCS, sort_rows, write_run
from dataset.source import Source, open_source, read_chunk
from dataset.text import Malformed, parse
from dataset.workspace import workspace

CHUNK: Final = 16 << 20
"""Large enough for NumPy's speed; a worker holds about six times as much."""

ROW: Final = 8 + 16 + 4 + 4
"""What a row takes in a run beside its value."""


class Chunk(NamedTuple):
    """One task: whole lines of the data file, and the run to write."""

    source: Path
    start: int
    size: int
    run: Path


class Sorted(NamedTuple):
    """A finished run: its lines, and how many rows and bytes of values each arc has, of shape (2, ARCS)."""

    lines: int
    arcs: NDArray[np.int64]


class Part(NamedTuple):
    """A finished range: its part file and what that holds."""

    path: Path
    partitions: list[Partition]


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one packing share."""

    source: Source
    target: Path
    directory: Path
    executor: Executor | None
    chunk_size: int
    on_duplicate: DuplicatePolicy
    progress: Callable[[int, int], None]


def pack(  # noqa: PLR0913  # what is packed into what, and four choices by name
    source: Path,
    target: Path,
    *,
    on_duplicate: DuplicatePolicy = "error",
    executor: Executor | None = None,
    chunk_size: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> Header:
    """Pack `source` into `target`, which appears whole or not at all, and replaces what stood there.

    Needs about twice the size of `source` on the target's file system while it works. Every byte is sorted,
    then merged: `progress` hears how many of these steps are done, and how many there are. Raises SourceError,
    MalformedLine, DuplicateKey, PackingFailed.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        stack.enter_context(_as_packing_failed(target))
        directory = stack.enter_context(workspace(target))
        workers = min(cores(), opened.size // chunk_size + 1)
        if executor is None and workers > 1:
            executor = stack.enter_context(worker_pool(workers))
        report = progress or (lambda _done, _all: None)
        job = Job(opened, target, directory, executor, chunk_size, on_duplicate, report)
        runs, arcs = _sort(job)
        parts = _merge(job, runs, arcs)
        return _write(job, parts)


def _sort(job: Job) -> tuple[list[Run], NDArray[np.int64]]:
    """The data file as sorted runs, and how many rows and bytes of values each arc has."""
    path = job.source.path.absolute()
    chunks = enumerate(job.source.chunks(job.chunk_size))
    tasks = (Chunk(path, start, size, job.directory / f"{number}.run") for number, (start, size) in chunks)
    runs: list[Run] = []
    arcs = np.zeros((2, ARCS), np.int64)
    lines = 0
    with closing(in_order(job.executor, sort_chunk, tasks)) as results:
        for number, result in enumerate(results):
            if isinstance(result, Malformed):
                raise MalformedLine(f"{job.source.path}:{lines + result.line + 1}: {result.reason}")
            runs.append(Run(job.directory / f"{number}.run", lines))
            lines += result.lines
            arcs += result.arcs
            job.progress(min((number + 1) * job.chunk_size, job.source.size), 2 * job.source.size)
    job.source.check_unchanged()
    return runs, arcs


def sort_chunk(task: Chunk) -> Sorted | Malformed:
    """Turn a chunk into a sorted run, or say which of its lines is the first that cannot be."""
    chunk = read_chunk(task.source, task.start, task.size)
    columns = parse(chunk)
    if isinstance(columns, Malformed):
        return columns
    return Sorted(len(columns.positions), write_run(task.run, sort_rows(chunk, columns)))


def _merge(job: Job, runs: list[Run], arcs: NDArray[np.int64]) -> list[Part]:
    """The finished partitions of the whole ring, in order."""
    keys, size = (int(total) for total in arcs.sum(axis=1))
    while True:
        partitions = partition_count(keys, size)
        parts = _merge_into(job, runs, arcs, partitions)
        # Where duplicates were dropped, fewer keys may call for fewer partitions: equal content has an equal id.
        keys = sum(partition.rows for part in parts for partition in part.partitions)
        size = sum(partition.size for part in parts for partition in part.partitions)
        if partition_count(keys, size) == partitions:
            break
    for run in runs:
        run.path.unlink()
    return parts


def _merge_into(job: Job, runs: list[Run], arcs: NDArray[np.int64], partitions: int) -> list[Part]:
    tasks = [
        Range(runs, partitions, first, last, job.on_duplicate, job.directory / f"{first}.part")
        for first, last in _ranges(arcs.reshape(2, pieces(partitions), -1).sum(axis=2), job.chunk_size)
    ]
    parts: list[Part] = []
    with closing(in_order(job.executor, merge_range, tasks)) as results:
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, Duplicate):
                raise DuplicateKey(
                    f"{job.source.path}:{result.second}: key {result.key} stands on line {result.first} too;"
                    " remove one, or choose with --on-duplicate=first|last"
                )
            parts.append(Part(task.part, result))
            share = job.source.size * task.last // pieces(partitions)
            job.progress(job.source.size + share, 2 * job.source.size)
    return parts


def _ranges(weights: NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Cut the ring into ranges of pieces: each of up to `limit` bytes, or of one piece that has more."""
    sizes = (weights[0] * ROW + weights[1]).tolist()
    first = held = 0
    for piece, size in enumerate(sizes):
        if held and held + size > limit:
            yield first, piece
            first, held = piece, 0
        held += size
    yield first, len(sizes)


def _write(job: Job, parts: list[Part]) -> Header:
    partitions = [partition for part in parts for partition in part.partitions]
    checksums = [(partition.rows, partition.checksum) for partition in partitions]
    header = Header(
        dataset_id=dataset_id(checksums),
        partitions=len(partitions),
        keys=sum(partition.rows for partition in partitions),
        source_size=job.source.size,
        source_digest=job.source.digest,
    )
    building = job.directory / "packed"
    with pa.output_stream(str(building), compression=None, buffer_size=1 << 20) as sink:
        write(sink, header, _batches(parts), checksums)
    _sync(building)
    building.replace(job.target)
    _sync(job.target.parent)
    return header


def _batches(parts: list[Part]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from read_part(part.path, part.partitions)
        # Its room is needed for what is written from it.
        part.path.unlink()


def _sync(path: Path) -> None:
    """Make what was written survive a power failure: a file's bytes, or a directory's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _as_packing_failed(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PackingFailed(f"{target}: cannot be written: {reason}") from error
    except (BrokenProcessPool, MemoryError) as error:
        raise PackingFailed(f"{target}: not enough memory to pack on {cores()} processors") from error
