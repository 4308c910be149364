"""Which bytes to ask a store for: neighbours together, with small gaps, as each request costs a round trip.

wanted    ███   ██ █              ████
asked     └───────┘               └──┘
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.dataset.block import Row
from ringkv.dataset.format import BLOCK_ROW

MAX_GAP: Final = 128 << 10
"""The largest gap, in bytes, that is read and not skipped: on a fast network it costs about as much as a request."""

HEADER: Final = 512
"""Gaps of up to so many bytes are always read: between two neighbouring blocks there are about 300."""

MAX_REQUEST: Final = 8 << 20
"""Bytes of one request, unless a single block is larger: at 1 Gbit/s 70 ms, beside which a round trip is nothing."""

TOGETHER: Final = 8
"""Requests that are made, checked and written together: each by itself costs more than its bytes if they are few."""

WASTE: Final = 0.2
"""The part of what is wanted that may be read in gaps beside it. Without a limit all gaps between small partitions
would be read, and each of three shards would fetch everything."""


class Wanted(NamedTuple):
    """A block and where it lies."""

    block: int
    row: Row


PLACED: Final = np.dtype([("block", "<u4"), *BLOCK_ROW.descr])
"""The same in an array, for what is done with thousands of them at once."""


class Request(NamedTuple):
    """The bytes from `start` up to `end`, without it, and the blocks that are wanted of them, as PLACED has them."""

    start: int
    end: int
    wanted: NDArray[np.void]


def placed(blocks: NDArray[np.int64], rows: NDArray[np.void]) -> NDArray[np.void]:
    """Blocks with their rows, which are as BLOCK_ROW has them."""
    found = np.empty(len(blocks), PLACED)
    found["block"] = blocks
    for name in BLOCK_ROW.names or ():
        found[name] = rows[name]
    return found


def placed_one_by_one(wanted: Sequence[Wanted]) -> NDArray[np.void]:
    """These blocks in an array."""
    return np.array([(one.block, *one.row) for one in wanted], PLACED)


def one_by_one(wanted: NDArray[np.void]) -> list[Wanted]:
    """The blocks of an array."""
    rows = map(Row._make, wanted[list(BLOCK_ROW.names or ())].tolist())
    return list(map(Wanted, wanted["block"].tolist(), rows))


def coalesce(wanted: NDArray[np.void], largest: int = MAX_REQUEST) -> list[Request]:
    """Requests for blocks of one segment, each of at most `largest` bytes unless a block is larger, in their order."""
    ordered = wanted[np.argsort(wanted["offset"], kind="stable")]
    starts = ordered["offset"].astype(np.int64)
    ends = np.maximum.accumulate(starts + ordered["bytes"])
    gaps = np.maximum(0, starts[1:] - ends[:-1])
    apart = np.flatnonzero(~_bridged(gaps, int(ordered["bytes"].sum()))) + 1
    requests: list[Request] = []
    first = 0
    for stop in [*apart.tolist(), len(ordered)]:
        while first < stop:
            fitting = first + int(ends[first:stop].searchsorted(starts[first] + largest, side="right"))
            last = max(first + 1, fitting)
            requests.append(Request(int(starts[first]), int(ends[last - 1]), ordered[first:last]))
            first = last
    return requests


def take(requests: deque[Request], most: int, largest: int = MAX_REQUEST) -> list[Request]:
    """Take the first of these requests, and further ones as long as they have at most `largest` bytes together.

    They are at most `most`.
    """
    found = [requests.popleft()]
    size = found[0].end - found[0].start
    while requests and len(found) < most and (size := size + requests[0].end - requests[0].start) <= largest:
        found.append(requests.popleft())
    return found


def runs(wanted: Iterable[Wanted]) -> list[list[Wanted]]:
    """The blocks in runs: within a run each block lies right behind the one before it."""
    found: list[list[Wanted]] = []
    block = end = 0
    for one in wanted:
        number, (_, size, _, offset) = one
        if found and number == block + 1 and offset >= end:
            found[-1].append(one)
        else:
            found.append([one])
        block, end = number, offset + size
    return found


def extent(run: Sequence[Wanted]) -> tuple[int, int]:
    """The first byte of a run, and the first one behind it."""
    last = run[-1].row
    return run[0].row.offset, last.offset + last.size


def _bridged(gaps: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which of the gaps are read, the smallest first."""
    order = np.argsort(gaps, kind="stable")
    ascending = gaps[order]
    read = np.cumsum(np.where(ascending > HEADER, ascending, 0)) <= size * WASTE
    found = np.empty(len(gaps), np.bool_)
    found[order] = read & (ascending <= MAX_GAP)
    return found
