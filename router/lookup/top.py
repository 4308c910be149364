"""Which keys are asked for most, told by a few counters, however many keys there are.

Source: Metwally, Agrawal, El Abbadi, *Efficient Computation of Frequent and Top-k Elements in Data Streams*, 2005
(Space-Saving). In place of their list of buckets there is a heap in which counts may be outdated: an entry is corrected
when it comes to the top, so that counting a known key costs one entry of a dict.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappush, heapreplace

from ringkv.router.policy import HOT_COUNTED, HOT_WINDOW


@dataclass(slots=True)
class _Window:
    began: float
    counts: dict[bytes, int] = field(default_factory=dict)
    too_many: dict[bytes, int] = field(default_factory=dict)  # by how much the count of a key may be too high
    heap: list[tuple[int, bytes]] = field(default_factory=list)  # the keys, each with a count that may be outdated

    def count(self, key: bytes, times: int) -> None:
        counts = self.counts
        if key in counts:
            counts[key] += times
        elif len(counts) < HOT_COUNTED:
            counts[key] = times
            heappush(self.heap, (times, key))
        else:
            least, coldest = self._coldest()
            del counts[coldest]
            self.too_many.pop(coldest, None)
            counts[key], self.too_many[key] = least + times, least
            heapreplace(self.heap, (least + times, key))

    def _coldest(self) -> tuple[int, bytes]:
        heap, counts = self.heap, self.counts
        while counts[heap[0][1]] != heap[0][0]:
            heapreplace(heap, (counts[heap[0][1]], heap[0][1]))
        return heap[0]

    def certain(self) -> dict[bytes, int]:
        """How often each key was counted, at least."""
        return {key: count - self.too_many.get(key, 0) for key, count in self.counts.items()}


class TopKeys:
    """Counts in the current window, and in the one before it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = self._before = _Window(clock())

    def count(self, key: bytes, times: int = 1) -> None:
        self._turn()
        self._now.count(key, times)

    def counted(self) -> tuple[float, dict[bytes, int]]:
        """For how many seconds has been counted, and how often each key was asked for, at least."""
        self._turn()
        counts = self._now.certain()
        if self._before is not self._now:
            for key, count in self._before.certain().items():
                counts[key] = counts.get(key, 0) + count
        return self._clock() - self._before.began, counts

    def _turn(self) -> None:
        now = self._clock()
        age = now - self._now.began
        if age >= HOT_WINDOW:
            # After a whole window without any request, the window before is empty.
            self._before = self._now if age < 2 * HOT_WINDOW else _Window(now - HOT_WINDOW)
            self._now = _Window(now)
