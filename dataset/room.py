"""How much of the disk the mirrors in a cache may take, and what is removed when they need more.

Datasets that are not open are removed first, those that were opened longest ago before the others; then partitions of
open datasets that nobody claims, which become holes. What is claimed stays, whatever the limit.
"""

import logging
import mmap
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringkv.dataset.dataset import Dataset
from ringkv.dataset.holes import has_data, punch, room_taken
from ringkv.dataset.segment import Segment

Extents = tuple[NDArray[np.int64], NDArray[np.int64]]

log = logging.getLogger("ringkv.dataset")

AT_ONCE: Final = 64
"""Partitions that become one hole: it takes about a millisecond, for which a lease of others has to wait."""

SLACK: Final = 32
"""At least the limit divided by this is freed at a time, as each time takes a look at all partitions."""


class Room:
    """`limit` is in bytes; None for as much as the disk has. Methods may be called from any thread."""

    def __init__(self, cache: Path, limit: int | None) -> None:
        self.limit = limit
        self._opened: list[Dataset] = []  # the oldest first
        self._opening: list[Path] = []
        self._cache = cache
        self._lock = threading.Lock()
        self._taken = 0  # bytes of the disk; never less than the mirrors really take
        self._measured = False
        self._told = False

    @contextmanager
    def opening(self, folder: Path) -> Iterator[None]:
        """Keep this folder for the time of the context, in which its dataset is opened, and then added."""
        with self._lock:
            self._opening.append(folder)
        try:
            yield
        finally:
            with self._lock:
                self._opening.remove(folder)

    def add(self, dataset: Dataset) -> None:
        """Keep the dataset until it is closed, but of its partitions only those that are claimed."""
        with self._lock:
            self._opened.append(dataset)
            self._measured = False
        dataset.closing(lambda: self._remove(dataset))

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more, if need be in place of others."""
        if not self.limit:
            return self.limit is None
        size += 2 * mmap.PAGESIZE  # the first and the last page are taken as wholes
        with self._lock:
            if not self._measured or self._taken + size > self.limit:
                self._taken, self._measured = self.taken(), True
            if self._taken + size > self.limit:
                self._let_go(max(self._taken + size - self.limit, self.limit // SLACK))
                self._taken = self.taken()
            fits = self._taken + size <= self.limit
            if fits:
                self._taken += size
            elif not self._told:
                log.warning(
                    "%s: its limit of %d bytes is reached: what has no room is fetched whenever it is asked for",
                    self._cache,
                    self.limit,
                )
            self._told = not fits
            return fits

    def make(self, size: int) -> bool:
        """Let others go for so many bytes, as the disk is full; False if there is nothing to let go."""
        with self._lock:
            return self._let_go(size) > 0

    def taken(self) -> int:
        """Bytes of the disk that all mirrors take."""
        found = 0
        for path in self._cache.glob("*/*"):
            try:
                found += path.stat().st_blocks * 512
            except OSError:
                continue  # gone meanwhile
        return found

    def _remove(self, dataset: Dataset) -> None:
        with self._lock:  # closed descriptors may be reused: no hole must be made in whatever they are then
            self._opened.remove(dataset)

    def _let_go(self, size: int) -> int:
        """Free at least so many bytes, as far as possible; returns how many were freed."""
        freed = 0
        for folder in self._unopened():
            if freed >= size:
                return freed
            before = self.taken()
            shutil.rmtree(folder, ignore_errors=True)
            freed += before - self.taken()
            log.info("%s: was let go, as its room is needed", folder)
        for dataset in list(self._opened):
            # Where the same dataset is open twice, a partition that one does not claim may be claimed by the other.
            if freed < size and [other.path for other in self._opened].count(dataset.path) == 1:
                freed += _make_holes(dataset, size - freed)
        return freed

    def _unopened(self) -> list[Path]:
        kept = {*self._opening, *(dataset.path for dataset in self._opened)}
        found = [path for path in self._cache.iterdir() if path.is_dir() and path not in kept]
        return sorted(found, key=lambda path: path.stat().st_mtime)


def _make_holes(dataset: Dataset, size: int) -> int:
    """Make holes of partitions that nobody claims, until so many bytes are freed; returns how many were."""
    freed = 0
    for number, segment in enumerate(dataset.segments):
        extents = dataset.extents_of(number)
        if extents is None:
            continue
        entry, before = segment.entry, room_taken(segment.descriptor)
        for first in range(entry.first, entry.last, AT_ONCE):
            _punch(dataset, segment, range(first, min(first + AT_ONCE, entry.last)), extents)
            if freed + before - room_taken(segment.descriptor) >= size:
                break
        freed += before - room_taken(segment.descriptor)
        if freed >= size:
            break
    return freed


def _punch(dataset: Dataset, segment: Segment, partitions: range, extents: Extents) -> None:
    """Make a hole of each run of partitions that nobody claims; meanwhile claims have to wait."""
    origin, (starts, ends) = dataset.origin, extents
    assert origin is not None
    with origin.lock:
        for run in _runs(partitions, origin.claimed):
            start = int(starts[run.start - segment.entry.first])
            taken = int(ends[run.stop - 1 - segment.entry.first]) - start
            if has_data(segment.descriptor, start, taken):
                punch(segment.descriptor, start, taken)


def _runs(partitions: range, claimed: set[int]) -> list[range]:
    """Runs of partitions that are not claimed."""
    runs: list[range] = []
    for partition in partitions:
        if partition in claimed:
            continue
        if runs and runs[-1].stop == partition:
            runs[-1] = range(runs[-1].start, partition + 1)
        else:
            runs.append(range(partition, partition + 1))
    return runs
