"""Where the ring is cut: everywhere once, in order, and into what can be held."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.limits import SEGMENT_BYTES
from ringkv.cluster.position import SLOTS
from ringkv.dataset.packing.cuts import MIN_SEGMENT_BYTES, ranges, segment_size, segments

SIZES = st.lists(st.integers(0, 50) | st.integers(0, 5000), min_size=1, max_size=40)


@given(SIZES, st.integers(1, 20_000))
@settings(deadline=None)
def test_segments_are_all_partitions_in_order_and_not_much_larger_than_asked_for(sizes: list[int], size: int) -> None:
    found = segments(np.array(sizes), size)
    assert found[0][0] == 0
    assert found[-1][1] == len(sizes)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    for first, last in found:
        assert first < last
        assert last - first == 1 or sum(sizes[first:last]) <= 3 * max(size, 1)


def test_equal_partitions_make_equal_segments() -> None:
    assert segments(np.full(256, 1000), 64_000) == [(0, 64), (64, 128), (128, 192), (192, 256)]
    assert segments(np.zeros(256, np.int64), 1) == [(0, 256)]
    assert segments(np.ones(256, np.int64), 1) == [(number, number + 1) for number in range(256)]


def test_a_segment_has_a_64th_of_the_dataset_between_two_limits() -> None:
    assert segment_size(0) == segment_size(64 * MIN_SEGMENT_BYTES) == MIN_SEGMENT_BYTES
    assert segment_size(64 * (MIN_SEGMENT_BYTES + 1)) == MIN_SEGMENT_BYTES + 1
    assert segment_size(1 << 50) == SEGMENT_BYTES


@given(
    st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, 1000), max_size=200),
    st.sampled_from([256, 4096, SLOTS, 4 * SLOTS, 64 * SLOTS]),
    st.integers(1, 3000),
    st.integers(0, 254),
)
@settings(deadline=None)
def test_what_lies_between_two_cuts_can_be_held(filled: dict[int, int], blocks: int, limit: int, first: int) -> None:
    sizes = np.zeros(SLOTS, np.int64)
    sizes[list(filled)] = list(filled.values())
    slots = first * 64, SLOTS
    cuts = list(ranges(sizes, blocks, slots, limit))
    assert (cuts[0], cuts[-1]) == (slots[0] * blocks // SLOTS, blocks)
    assert cuts == sorted(set(cuts))
    # A cut within a slot takes the slot's keys for spread evenly, as hashes are.
    places = np.arange(blocks + 1) * (SLOTS / blocks)
    of_blocks = np.diff(np.interp(places, np.arange(SLOTS + 1), np.append(0, np.cumsum(sizes))))
    for start, end in pairwise(cuts):
        held = of_blocks[start:end]
        assert held.sum() < max(limit, held.max()) + 1
