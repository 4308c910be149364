"""How much memory packing takes, and what follows from that: how many workers, and how large a chunk each sorts.

A worker holds up to HELD times its chunk: the text, its parsed columns and the texts of its keys, then the sorted
columns and values. Merging, with as much as a chunk at once, holds less. One pass merges all runs, of which a worker
opens one at a time: many runs cost reads, but neither memory nor open files. What a worker reads from a run at once is
a chunk ÷ the number of runs, so chunks grow with the square root of the data, as far as there is memory for that:

    8.8 GB on 2 processors:   chunks of 17 MB,    520 runs, 33 KB of each at once, up to 0.3 GB held
    1 TB on 16 processors:    chunks of 180 MB, 5,500 runs, 33 KB of each at once, up to 23 GB held
      with --memory 8G:       chunks of 67 MB, 15,000 runs,  5 KB of each at once
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from ringkv.cluster.errors import PackingFailed
from ringkv.dataset.source.protocol import Source
from ringkv.dataset.source.stream import TextStream
from ringkv.process.memory import available

HELD: Final = 8
"""How many times the bytes of its chunk a worker holds, at most."""

READ: Final = 32 << 10
"""Bytes to read from a run at once: disks take little longer for so much than for a page."""

LEAST_CHUNK: Final = 4 << 20
"""Where memory is too small for larger chunks there are fewer workers: yet smaller chunks would make so many runs that
they take more time than a second worker saves."""

USUAL_CHUNK: Final = 16 << 20
"""Enough for NumPy's speed, where data are not so large that READ asks for more."""

STREAM_CHUNK: Final = 64 << 20
"""For data whose size is not known: what READ asks for at 140 GB."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many processes pack at once, and about how many bytes each of them may take on at a time."""

    workers: int
    chunk: int

    def chunk_of(self, sources: Sequence[Source]) -> int:
        """How many bytes each process takes on of these sources."""
        if any(isinstance(source, TextStream) for source in sources):
            return min(self.chunk, STREAM_CHUNK)
        size = sum(source.file.identity.size for source in sources if source.file)
        return min(self.chunk, max(USUAL_CHUNK, isqrt(READ * size)))


def budget_of(limit: int | None = None) -> Budget:
    """The budget of a packing with `limit` bytes of memory; without a limit a quarter of what is available.

    Raises PackingFailed for a limit that is too small for anything.
    """
    least = HELD * LEAST_CHUNK
    if limit is None:
        limit = max(available() // 4, least)
    if limit < least:
        raise PackingFailed(f"{limit:,} bytes of memory are too few to pack with; give {least >> 20}M or more")
    workers = min(len(os.sched_getaffinity(0)), limit // least)
    return Budget(workers, limit // (HELD * workers))
