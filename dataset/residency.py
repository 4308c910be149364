"""Which pages of a mapped segment are kept in memory: those of the partitions that are wanted, and no others.

A page fault also maps what the page cache holds around it, up to 64 KiB, but only within the same mapping. So the runs
of wanted pages get other advice than the rest, by which the kernel makes mappings of their own of them: that about core
dumps, which changes nothing else. A fault that has to read from the disk reads one page, and not all that a disk reads
ahead, which may be 8 MiB: keys are random, so that nobody will ask for what lies around it.
"""

import mmap
import threading
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

MAX_RUNS: Final = 16_384
"""A run of pages costs two mappings of the 65,530 that Linux gives a process; real rings make some 1,000."""

MADV_POPULATE_READ: Final = 22
"""Advice of Linux 5.14 that maps pages; unlike touching them it cannot kill the process where a file was cut off.
Python names it from 3.13 on."""

Span = tuple[int, int]
"""The first byte of something in the file, and the first one behind it."""


class Residency:
    """Tells the kernel which pages of one mapping may be resident; until the first call it knows of none."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        with suppress(OSError):
            mapped.madvise(mmap.MADV_RANDOM)
        self._kept: dict[int, Span] = {}
        self._runs: list[Span] = []
        self._lock = threading.Lock()

    def keep(self, spans: Mapping[int, Span]) -> None:
        """Let the pages of these partitions become resident, beside those that are kept already."""
        self._kept.update(spans)
        self._settle()

    def release(self, partitions: Iterable[int]) -> None:
        """Let the pages of these partitions go, apart from those that they share with one that stays."""
        for partition in partitions:
            self._kept.pop(partition, None)
        self._settle()

    def populate(self, start: int, end: int) -> None:
        """Map those pages of these bytes that are to be resident, so that no read of them is a page fault.

        May run in another thread: pages that are released meanwhile are not mapped again.
        """
        # OSError: an older kernel, where the first read maps. ValueError: the mapping was closed by an ending shard.
        with self._lock, suppress(OSError, ValueError):
            for first, stop in self._runs[max(0, bisect_right(self._runs, (start, end)) - 1) :]:
                if first >= end:
                    break
                begin = max(first, start // mmap.PAGESIZE * mmap.PAGESIZE)
                if begin < (until := min(stop, end)):
                    self._map.madvise(MADV_POPULATE_READ, begin, until - begin)

    def _settle(self) -> None:
        """Tell the kernel which pages are wanted, and drop all others from the process."""
        if self._map.closed:
            return  # the last connections of a process may end after its dataset was closed
        runs = _page_runs(sorted(self._kept.values()))
        if len(runs) > MAX_RUNS:
            runs = [(runs[0][0], runs[-1][1])]
        # A limit on mappings may make the kernel refuse advice: then more pages are resident than need be.
        with self._lock, suppress(OSError):
            self._runs = runs
            end = 0
            for start, stop in runs:
                self._forget(end, start)
                self._map.madvise(mmap.MADV_DODUMP, start, min(stop, len(self._map)) - start)
                end = stop
            self._forget(end, len(self._map))

    def _forget(self, start: int, stop: int) -> None:
        if start < stop:
            self._map.madvise(mmap.MADV_DONTDUMP, start, stop - start)
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _page_runs(spans: Sequence[Span]) -> list[Span]:
    """The pages of ascending spans of bytes, as runs from page border to page border with gaps between."""
    page = mmap.PAGESIZE
    runs: list[Span] = []
    for start, stop in spans:
        first, last = start // page * page, -(-stop // page) * page
        if runs and first <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(last, runs[-1][1])
        else:
            runs.append((first, last))
    return runs
