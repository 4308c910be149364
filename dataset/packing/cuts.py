"""Where the work is cut: the ring into segments, a segment into what one worker holds in memory at once."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.limits import SEGMENT_BYTES
from ringkv.cluster.position import SLOTS

MIN_SEGMENT_BYTES: Final = 16 << 20
"""Smaller ones would cost more in tasks and files than they could gain in parallel."""

ROW: Final = 8 + 16 + 4
"""Bytes that a row takes while it is merged, beside its value."""

SEGMENTS: Final = 64
"""How many segments a dataset of up to SEGMENTS times SEGMENT_BYTES gets: as many processors can share its work."""


def sizes_of(slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bytes of each slot while it is merged, from the rows and bytes of values of each, of shape (2, slots)."""
    rows, values = slots
    sizes: NDArray[np.int64] = rows * ROW + values
    return sizes


def segment_size(total: int) -> int:
    """About how many bytes a segment gets of a dataset of `total`: by these alone, so equal data are cut alike."""
    return min(max(total // SEGMENTS, MIN_SEGMENT_BYTES), SEGMENT_BYTES)


def segments(sizes: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Cut the ring into segments of about `size` bytes, as first partitions and those behind the last ones.

    `sizes` are the bytes of each partition. No segment has more than three times `size`, but for a single partition.
    """
    total = max(1, int(sizes.sum()))
    wanted = -(-total // size)
    # A partition belongs to the segment in which its middle lies; empty partitions at the end to the last one.
    owners = np.minimum((np.cumsum(sizes) - sizes / 2) * (wanted / total), wanted - 1).astype(np.int64)
    cuts = (np.flatnonzero(np.diff(owners)) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(sizes)], strict=True))


def ranges(sizes: NDArray[np.int64], blocks: int, slots: tuple[int, int], limit: int) -> Iterator[int]:
    """The blocks at which to cut what lies in these slots, with the first one and the one behind the last.

    `sizes` are the bytes of each slot; between two cuts are up to `limit`, or one block.
    """
    # A run knows where its slots begin. A cut within a slot takes a search, and is made only where a slot is too large.
    units = min(blocks, SLOTS)
    width = SLOTS // units
    first, last = slots[0] // width, slots[1] // width
    weights = sizes.reshape(units, width).sum(axis=1)[first:last].tolist()
    held = 0
    yield first * blocks // units
    for unit, weight in enumerate(weights, first):
        block, within = unit * blocks // units, blocks // units
        if held and held + weight > limit:
            yield block
            held = 0
        parts = min(within, 1 << (-(-weight // limit) - 1).bit_length()) if weight > limit else 1
        yield from (block + part * within // parts for part in range(1, parts))
        held += weight // parts
    yield last * blocks // units
