"""How long requests took: counts in geometric buckets, which can be added, subtracted and asked for quantiles.

Source of the idea: https://prometheus.io/docs/practices/histograms/. The buckets are the same in every process, which
is what lets counts be added.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = tuple(round(50e-6 * 2 ** (step / 2), 7) for step in range(35))
"""Upper bounds in seconds, each 1.41 times the one before: from 50 us, faster than any reply, to past the deadline."""


@dataclass(slots=True)
class Durations:
    """`counts` has an entry for each of BOUNDS, and one for what took longer; `seconds` is the sum of all durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def observe_all(self, seconds: float, count: int) -> None:
        """As `observe`, for `count` requests that took equally long."""
        self.counts[bisect_left(BOUNDS, seconds)] += count
        self.seconds += count * seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The seconds within which this share of the requests was answered, interpolated; 0 if there were none.

        Durations above all bounds count as the last bound.
        """
        wanted = share * self.count
        below = 0.0
        for count, low, high in zip(self.counts, (0.0, *BOUNDS), BOUNDS, strict=False):
            if count and below + count >= wanted:
                return low + (high - low) * (wanted - below) / count
            below += count
        return BOUNDS[-1] if below < wanted else 0.0

    def since(self, before: "Durations") -> "Durations":
        """The durations that were added after `before`, an earlier copy, was taken."""
        counts = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        return Durations(counts, self.seconds - before.seconds)


def total(parts: Iterable[Durations]) -> Durations:
    """The sum of several, as a new object."""
    found = Durations()
    for part in parts:
        found.counts = [a + b for a, b in zip(found.counts, part.counts, strict=True)]
        found.seconds += part.seconds
    return found
