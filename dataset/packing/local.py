"""Packing: from data sources to a dataset, by an external sort whose work is shared among processes.

    sources ──► chunks of pairs ──► sorted runs ──► segments ──► dataset
                cut here            workers         workers      made of them here

Memory is bounded by the size of a chunk and the number of workers, not by the size of the data.
"""

import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import MalformedLine, PackingFailed
from ringkv.cluster.position import SLOTS, block_count, partition_count
from ringkv.dataset.durable import sync
from ringkv.dataset.format import segment_name
from ringkv.dataset.manifest import Manifest, SegmentEntry, SourceEntry
from ringkv.dataset.packing.answers import pick_up, put_down
from ringkv.dataset.packing.chunk import Chunk, Rejected, groups, sort_chunk
from ringkv.dataset.packing.cuts import ranges, segment_size, segments, sizes_of
from ringkv.dataset.packing.inflight import in_order, worker_pool
from ringkv.dataset.packing.memory import Budget, budget_of
from ringkv.dataset.packing.merge import Duplicate, DuplicatePolicy
from ringkv.dataset.packing.places import Places
from ringkv.dataset.packing.rights import limit
from ringkv.dataset.packing.runs import Run
from ringkv.dataset.packing.seal import seal
from ringkv.dataset.packing.segment import Segment, SegmentTask, write_segment
from ringkv.dataset.packing.target import put, replaceable
from ringkv.dataset.packing.workspace import workspace
from ringkv.dataset.progress import Progress
from ringkv.dataset.source.file import RegularFile
from ringkv.dataset.source.find import find
from ringkv.dataset.source.protocol import Source
from ringkv.process.words import counted

Task = TypeVar("Task")
Result = TypeVar("Result")


class Written(NamedTuple):
    """What was written: all segments, the bytes of all values, and the rows of blocks.arrow of all blocks."""

    segments: list[SegmentEntry]
    values: int
    blocks: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one packing share. The dataset is built in `building`, a folder in `directory`."""

    sources: Sequence[Source]
    directory: Path
    building: Path
    workers: Callable[[], Executor]
    worker_count: int
    chunk: int
    segment_size: int | None
    on_duplicate: DuplicatePolicy
    progress: Progress

    def size(self) -> int:
        """How many bytes the sources have, when all have been read."""
        return sum(source.consumed for source in self.sources)


class SortedRuns(NamedTuple):
    """All sources as sorted runs, the rows and bytes of values of each slot, and where rows come from for messages."""

    runs: list[Run]
    slots: NDArray[np.int64]
    places: Places


def pack(  # noqa: PLR0913 - what is packed into what, and five choices by name
    data: Path | Sequence[Source],
    target: Path,
    *,
    on_duplicate: DuplicatePolicy = "error",
    executor: Executor | None = None,
    budget: Budget | None = None,
    segment_size: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Pack `data`, a path or the sources that were found, into the folder `target`, which appears whole or not at all.

    It replaces the dataset that stood there. Needs about twice the size of the pairs on the target's file system while
    it works. The steps of `progress` are bytes, each of which is sorted, then merged; how many there are it is told as
    soon as that is known. The dataset's id does not depend on `budget` and `segment_size`.
    Raises SourceError, MalformedLine, DuplicateKey, PackingFailed.
    """
    sources = find([data]) if isinstance(data, Path) else data
    budget = budget or budget_of()
    with ExitStack() as stack:
        stack.enter_context(_as_packing_failed(target, budget))
        replaced = replaceable(target)
        directory = stack.enter_context(workspace(replaced))

        @cache
        def workers() -> Executor:
            if executor is not None:
                return executor
            pool = worker_pool(budget.workers)
            # A task that Ctrl-C cut off within `submit` stays pending and never begins: without cancelling it the pool
            # would wait for it without end.
            stack.callback(pool.shutdown, cancel_futures=True)
            return pool

        report = progress or (lambda _done, _all: None)
        building = directory / "dataset"
        chunk = budget.chunk_of(sources)
        job = Job(sources, directory, building, workers, budget.workers, chunk, segment_size, on_duplicate, report)
        written = _merge(job, _sort(job))
        entries = [SourceEntry(source.name, source.consumed, source.digest) for source in sources]
        manifest = seal(building, written.segments, written.blocks, entries)
        limit(building, [source.file.path for source in sources if source.file])
        put(building, replaced)
        sync(replaced.parent)
        return manifest


def _sort(job: Job) -> SortedRuns:
    runs: list[Run] = []
    slots = np.zeros((2, SLOTS), np.int64)
    places = Places()
    files = [source.file for source in job.sources if source.file]
    total = 2 * sum(file.identity.size for file in files) if len(files) == len(job.sources) else 0
    begun: deque[tuple[list[Source], int]] = deque()
    with closing(_answers(job, sort_chunk, _chunks(job, begun.append))) as results:
        for number, result in enumerate(results):
            sources, consumed = begun.popleft()
            before = places.rows
            for source, rows in zip(sources, result.rows, strict=False):
                places.add(source, rows)
            if isinstance(result, Rejected):
                _check_unchanged(files)  # what is just being written is no line, but will be
                line, reason = result.malformed
                places.add(sources[len(result.rows)], line + 1)
                raise MalformedLine(f"{places.of(places.rows - 1)}: {reason}")
            runs.append(Run(job.directory / f"{number}.run", places.rows - before, before))
            slots += result.slots
            if total:
                job.progress(min(consumed, total // 2), total)
    _check_unchanged(files)
    return SortedRuns(runs, slots, places)


def _check_unchanged(files: Sequence[RegularFile]) -> None:
    """Raise SourceError if one of them is not what it was when it was found."""
    for file in files:
        file.check_unchanged()


def _answers(job: Job, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
    """The results of all tasks, which the workers do, in the order of the tasks."""
    with closing(in_order(job.workers, partial(put_down, job.directory, function), tasks, job.worker_count)) as names:
        yield from map(pick_up, names)


def _chunks(job: Job, begun: Callable[[tuple[list[Source], int]], None]) -> Iterator[Chunk]:
    """A task for each run. `begun` is called with its sources, and with how many bytes have been read so far."""
    read = ((source, piece) for source in job.sources for piece in source.pieces(job.chunk, job.directory))
    for number, group in enumerate(groups(read, job.chunk)):
        begun(([source for source, _ in group], job.size()))
        yield Chunk([piece for _, piece in group], job.directory / f"{number}.run")


def _merge(job: Job, found: SortedRuns) -> Written:
    """All segments, in order, in the folder of the dataset."""
    keys, size = (int(total) for total in found.slots.sum(axis=1))
    while True:
        blocks = block_count(keys, size)
        job.building.mkdir()
        written = _merge_into(job, found, blocks)
        # Without the dropped duplicates fewer blocks may be right. The number must follow from the content that is
        # left, so that equal content has an equal id.
        keys, size = int(written.blocks["keys"].sum(dtype=np.int64)), written.values
        if block_count(keys, size) == blocks:
            break
        shutil.rmtree(job.building)
    for run in found.runs:
        run.path.unlink()
    return written


def _merge_into(job: Job, found: SortedRuns, blocks: int) -> Written:
    tasks = list(_tasks(job, found, blocks))
    size, partitions = job.size(), partition_count(blocks)
    done: list[Segment] = []
    with closing(_answers(job, write_segment, tasks)) as results:
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, Duplicate):
                raise found.places.twice(result)
            done.append(result)
            job.progress(size + size * task.last // partitions, 2 * size)
    entries = [
        SegmentEntry(task.path.name, segment.size, task.first, task.last)
        for task, segment in zip(tasks, done, strict=True)
    ]
    return Written(
        entries, sum(segment.values for segment in done), np.concatenate([segment.blocks for segment in done])
    )


def _tasks(job: Job, found: SortedRuns, blocks: int) -> Iterator[SegmentTask]:
    """A task for each segment."""
    sizes = sizes_of(found.slots)
    partitions = partition_count(blocks)
    width = SLOTS // partitions
    wanted = job.segment_size or segment_size(int(sizes.sum()))
    for number, (first, last) in enumerate(segments(sizes.reshape(partitions, width).sum(axis=1), wanted)):
        cuts = tuple(ranges(sizes, blocks, (first * width, last * width), job.chunk))
        path = job.building / segment_name(number)
        yield SegmentTask(tuple(found.runs), blocks, first, last, cuts, job.on_duplicate, path)


@contextmanager
def _as_packing_failed(target: Path, budget: Budget) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PackingFailed(f"{target}: cannot be written: {reason}") from error
    except (BrokenProcessPool, MemoryError) as error:
        raise PackingFailed(f"{target}: not enough memory to pack with {counted(budget.workers, 'worker')}") from error
