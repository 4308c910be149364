"""The entries of many blocks at once beside those of each block by itself, and beside the keys that they are of."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.position import position, slot
from ringkv.dataset.block import Row
from ringkv.dataset.coalescing import Wanted
from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at
from ringkv.shard.entries import ENTRY, REACH, checked_blocks
from tests.support.data import random_keys

KEYS = sorted(random_keys(20_000, seed=9), key=position)


@settings(deadline=None)  # the first example makes the tables of the slots
@given(st.sampled_from([1, 2, 8, 512]), st.integers(0, 60), st.integers(1, 40))
def test_the_entries_of_a_block_are_the_same_with_others_and_alone(slots: int, first: int, count: int) -> None:
    blocks = dict[int, list[bytes]]()
    for key in KEYS:
        blocks.setdefault(slot(key) // slots, []).append(key)
    right, offset = [], 4096
    for block in sorted(blocks)[first : first + count]:
        keys = blocks[block]
        body = b"".join(bytes.fromhex(key.replace(b"-", b"").decode()) for key in keys)
        right.append((Wanted(block, Row(len(keys), values_at(len(keys)), 0, offset)), body))
        offset += values_at(len(keys)) + 320
    found = checked_blocks(right, slots, segment=7)
    assert found == [each for one in right for each in checked_blocks([one], slots, segment=7)]
    for one, (wanted, _) in zip(found, right, strict=True):
        assert (one.segment, one.block, one.row, len(one.entries)) == (7, *wanted, slots * ENTRY.size)
        ranks = np.array([slot(key) - one.block * slots for key in blocks[one.block]])
        for number, (keys_at, offsets, values, size, reach, segment) in enumerate(ENTRY.iter_unpack(one.entries)):
            rank = int(ranks.searchsorted(number))
            assert size == np.count_nonzero(ranks == number)
            assert keys_at == one.row.offset + KEY_BYTES * rank
            assert offsets * OFFSET_BYTES == one.row.offset + offsets_at(one.row.keys) + OFFSET_BYTES * rank
            assert (values, segment) == (one.row.offset + values_at(one.row.keys), 7)
            assert (reach - REACH) ** 2 <= size < (reach - REACH + 1) ** 2
