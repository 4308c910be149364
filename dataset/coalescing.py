"""Which bytes to ask a store for: neighbours together, with small gaps, as each request costs a round trip.

wanted    ███   ██ █              ████
asked     └───────┘               └──┘
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ringkv.dataset.block import Row

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


class Request(NamedTuple):
    """The bytes from `start` up to `end`, without it, and the blocks that are wanted of them."""

    start: int
    end: int
    wanted: list[Wanted]


def coalesce(wanted: Sequence[Wanted], largest: int = MAX_REQUEST) -> list[Request]:
    """Requests for blocks of one segment, each of at most `largest` bytes unless a block is larger, in their order."""
    ordered = sorted(wanted, key=lambda one: one.row.offset)
    gaps = [max(0, after.row.offset - _end(one)) for one, after in pairwise(ordered)]
    bridged = _bridged(gaps, sum(one.row.size for one in ordered))
    groups: list[list[Wanted]] = []
    ends: list[int] = []
    for number, one in enumerate(ordered):
        end = _end(one)
        if number - 1 in bridged and max(end, ends[-1]) - groups[-1][0].row.offset <= largest:
            groups[-1].append(one)
            ends[-1] = max(end, ends[-1])
        else:
            groups.append([one])
            ends.append(end)
    return [Request(group[0].row.offset, end, group) for group, end in zip(groups, ends, strict=True)]


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
        if found and one.block == block + 1 and one.row.offset >= end:
            found[-1].append(one)
        else:
            found.append([one])
        block, end = one.block, _end(one)
    return found


def extent(run: Sequence[Wanted]) -> tuple[int, int]:
    """The first byte of a run, and the first one behind it."""
    return run[0].row.offset, _end(run[-1])


def _bridged(gaps: list[int], size: int) -> set[int]:
    """The numbers of the gaps that are read, the smallest first."""
    room = size * WASTE
    found = set()
    for number in sorted(range(len(gaps)), key=gaps.__getitem__):
        if gaps[number] > HEADER:
            room -= gaps[number]
        if room < 0 or gaps[number] > MAX_GAP:
            break
        found.add(number)
    return found


def _end(one: Wanted) -> int:
    return one.row.offset + one.row.size
