"""How busy the shard is, and with which partitions: a sample of what it answers, told in its heartbeats.

    answers ──► skip -= their work ──► below zero: one of their keys is counted ──► every few seconds: the load

Sampled by work, which is about what a processor does for them: a value of 100 KiB counts as 26 small ones.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import random
from typing import Final

from ringkv.cluster.hot import Load
from ringkv.cluster.position import slot, slot_shift

WORK_SHIFT: Final = 12
"""4 KiB of a reply take about as long as a small request."""

SAMPLE: Final = 256
"""Work from one sample to the next, on average: a busy shard takes a hundred or more a second, each 2 us."""

SAMPLES: Final = 20
"""Of fewer nothing is told: one more or less would make too much of a difference."""

WINDOW: Final = 2.0
"""Seconds of which is told at once."""

PARTS: Final = 8
LEAST_PART: Final = 5
"""Partitions that are told of, and percent of the shard's time that they take at least."""

_SCHEDULED: Final = Path("/proc/thread-self/schedstat")


def busy_seconds() -> float:
    """Seconds for which this thread has run or waited for a processor so far: a shard that waits can do no more."""
    try:
        run, waited, _ = _SCHEDULED.read_text().split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(run) + int(waited)) / 1e9


class Heat:
    """A sample of the answers of all versions: who answers takes the work off `skip`, and calls `note` below zero."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, busy_seconds: Callable[[], float] = busy_seconds
    ) -> None:
        self.skip = SAMPLE
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._counts: Counter[tuple[str, int]] = Counter()
        self._began = clock()
        self._busy_before = busy_seconds()
        self._busy = 0
        self._parts: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def note(self, keys: Sequence[bytes], dataset: str, partitions: int) -> None:
        """Count some of the keys that have been answered together, of a dataset with so many partitions."""
        shift = slot_shift(partitions)
        while self.skip < 0:
            key = keys[int(len(keys) * random())]  # noqa: S311 - what is sampled is no secret
            self._counts[dataset, slot(key.lower()) >> shift] += 1
            self.skip += 1 + int((2 * SAMPLE - 1) * random())  # noqa: S311 - no pattern of requests escapes

    def load(self, dataset: str) -> Load:
        """The load in the last whole WINDOW, with the hot partitions of this dataset. For the thread that answers."""
        now = self._clock()
        passed = now - self._began
        if passed >= WINDOW:
            busy = self._busy_seconds()
            self._sum_up(min(1.0, max(0.0, (busy - self._busy_before) / passed)))
            self._began, self._busy_before = now, busy
        return Load(self._busy, tuple(sorted(self._parts.get(dataset, {}).items())))

    def _sum_up(self, busy: float) -> None:
        counts, self._counts = self._counts, Counter()
        samples = counts.total()
        self._busy, self._parts = round(100 * busy), defaultdict(dict)
        for (dataset, partition), count in counts.most_common(PARTS if samples >= SAMPLES else 0):
            part = round(100 * busy * count / samples)
            if part >= LEAST_PART:
                self._parts[dataset][partition] = part
