"""Requests for blocks: all that is wanted, little beside it, none larger than it may be, and few."""

from collections import deque
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.ring import build_ring
from ringkv.dataset.block import Row
from ringkv.dataset.coalescing import (
    HEADER,
    MAX_GAP,
    MAX_REQUEST,
    WASTE,
    Request,
    Wanted,
    extent,
    one_by_one,
    placed_one_by_one,
    runs,
    take,
)
from ringkv.dataset.coalescing import coalesce as coalesce_placed


def coalesce(wanted: list[Wanted], largest: int = MAX_REQUEST) -> list[Request]:
    return coalesce_placed(placed_one_by_one(wanted), largest)


def laid_out(sizes: list[int]) -> list[Wanted]:
    """Blocks of these sizes one behind the other, as in a segment."""
    found, at = [], 1024
    for block, size in enumerate(sizes):
        found.append(Wanted(block, Row(1, size, 0, at)))
        at += size + 256
    return found


blocks = st.lists(st.integers(8, 400_000), max_size=80).map(laid_out)


@given(blocks, st.sets(st.integers(0, 79)), st.integers(1, MAX_REQUEST))
def test_each_wanted_block_is_in_one_request_and_little_else(
    every: list[Wanted], chosen: set[int], largest: int
) -> None:
    wanted = [one for one in every if one.block in chosen]
    requests = coalesce(wanted, largest)
    assert [one for request in requests for one in one_by_one(request.wanted)] == wanted
    for start, end, placed in requests:
        parts = one_by_one(placed)
        assert start == parts[0].row.offset
        assert end == parts[-1].row.offset + parts[-1].row.size
        assert end - start <= largest or len(parts) == 1
        for before, after in pairwise(parts):
            assert after.row.offset - before.row.offset - before.row.size <= MAX_GAP
    size = sum(one.row.size for one in wanted)
    assert sum(end - start for start, end, _ in requests) <= size * (1 + WASTE) + HEADER * len(wanted)
    assert all(before.end < after.start for before, after in pairwise(requests))


@given(blocks)
def test_no_two_requests_for_all_could_have_been_one(every: list[Wanted]) -> None:
    assert all(after.end - before.start > MAX_REQUEST for before, after in pairwise(coalesce(every)))


@given(blocks, st.integers(1, MAX_REQUEST), st.integers(1, 9))
def test_requests_are_taken_in_order_so_many_together_as_fit(every: list[Wanted], largest: int, most: int) -> None:
    requests = coalesce(every[::3])
    left, taken = deque(requests), []
    while left:
        taken.append(take(left, most, largest))
    assert [one for some in taken for one in some if one is not requests.pop(0)] == []
    assert not requests
    sizes = [[one.end - one.start for one in some] for some in taken]
    for some, following in pairwise(sizes):
        assert len(some) == 1 or (len(some) <= most and sum(some) <= largest)
        assert len(some) == most or sum(some) + following[0] > largest


@given(blocks, st.sets(st.integers(0, 79)))
def test_within_a_run_each_block_lies_right_behind_the_one_before_it(every: list[Wanted], chosen: set[int]) -> None:
    wanted = [one for one in every if one.block in chosen]
    found = runs(wanted)
    assert [one for run in found for one in run] == wanted
    for run in found:
        assert [one.block for one in run] == list(range(run[0].block, run[0].block + len(run)))
        assert extent(run) == (run[0].row.offset, run[-1].row.offset + run[-1].row.size)
    assert all(after[0].block > before[-1].block + 1 for before, after in pairwise(found))


def test_places_that_overlap_as_a_damaged_table_says_are_requested_all_the_same() -> None:
    wanted = [Wanted(0, Row(1, 1000, 0, 0)), Wanted(1, Row(1, 10, 0, 500)), Wanted(2, Row(1, 1000, 0, 600))]
    assert [(start, end) for start, end, _ in coalesce(wanted)] == [(0, 1600)]


def test_one_of_three_shards_of_a_million_pairs_fetches_little_more_than_it_owns_in_few_requests() -> None:
    """4,096 partitions of one block of some 16 KB."""
    partitions = 4096
    ring = build_ring(("one", "two", "three"), 1, partitions)
    every = laid_out([14_000 + 977 * block % 4_000 for block in range(partitions)])
    for name in ring.names:
        wanted = [every[partition] for partition in ring.owned_by(name)]
        requests = coalesce(wanted)
        runs = 1 + sum(after.block != before.block + 1 for before, after in pairwise(wanted))
        assert sum(end - start for start, end, _ in requests) <= 1.3 * sum(one.row.size for one in wanted)
        assert len(requests) <= runs * 2 // 3
