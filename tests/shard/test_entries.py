"""The entries of many blocks at once beside those of each block by itself, and beside the keys that they are of."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ringkv.cluster.position import position, slot
from ringkv.dataset.block import Row
from ringkv.dataset.coalescing import PLACED, Wanted, placed_one_by_one
from ringkv.dataset.format import KEY_BYTES, OFFSET_BYTES, offsets_at, values_at
from ringkv.shard.entries import ENTRY, FIELDS, REACH, Checked, Part, checked_blocks, entries_of, entry, slot_entries
from tests.support.data import random_keys

KEYS = sorted(random_keys(20_000, seed=9), key=position)


@settings(deadline=None)  # the first example makes the tables of the slots
@given(st.sampled_from([1, 2, 8, 512]), st.integers(0, 60), st.integers(1, 40))
def test_the_entries_of_a_block_are_the_same_with_others_and_alone(slots: int, first: int, count: int) -> None:
    blocks = dict[int, list[bytes]]()
    for key in KEYS:
        blocks.setdefault(slot(key) // slots, []).append(key)
    right, by_itself, offset = [], [], 4096
    for block in sorted(blocks)[first : first + count]:
        keys = blocks[block]
        body = b"".join(bytes.fromhex(key.replace(b"-", b"").decode()) for key in keys)
        wanted = Wanted(block, Row(len(keys), values_at(len(keys)), 0, offset))
        right.append(Part(placed_one_by_one([wanted]), offset, memoryview(body)))
        by_itself.append(slot_entries(wanted.row, body, slots, segment=7))
        offset += values_at(len(keys)) + 320
    found = checked_blocks(right, slots, segment=7)
    assert (found.segment, found.blocks.tolist()) == (
        7,
        [part.blocks.tolist()[0] for part in right],
    )
    alone = [checked_blocks([part], slots, segment=7) for part in right]
    assert found.entries.tolist() == [entries for one in alone for entries in one.entries.tolist()]
    assert rows_of(found) == [entries for one in alone for entries in rows_of(one)] == by_itself
    for (block, count_of, _, _, at), entries in zip(found.blocks.tolist(), rows_of(found), strict=True):
        assert len(entries) == slots * ENTRY.size
        ranks = np.array([slot(key) - block * slots for key in blocks[block]])
        for number, (keys_at, offsets, values, size, reach, segment) in enumerate(ENTRY.iter_unpack(entries)):
            rank = int(ranks.searchsorted(number))
            assert size == np.count_nonzero(ranks == number)
            assert keys_at == at + KEY_BYTES * rank
            assert offsets * OFFSET_BYTES == at + offsets_at(count_of) + OFFSET_BYTES * rank
            assert (values, segment) == (at + values_at(count_of), 7)
            assert (reach - REACH) ** 2 <= size < (reach - REACH + 1) ** 2


@given(st.lists(st.tuples(st.integers(1, 1 << 26), st.integers(1, 1 << 20))), st.booleans())
def test_the_entries_of_all_keys_of_many_blocks_are_those_of_each(
    places: list[tuple[int, int]],
    mapped: bool,  # noqa: FBT001 - as Hypothesis gives it
) -> None:
    rows = [Row(keys, 0, 0, 8 * place) for place, keys in places]
    blocks = np.array([(number, *row) for number, row in enumerate(rows)], PLACED)
    found = entries_of(blocks, 7, mapped=mapped)
    assert [each.tobytes() for each in found] == [entry(row, 7, mapped=mapped) for row in rows]


def test_keys_in_no_order_still_have_entries_within_their_block() -> None:
    """As in a file that was made to deceive."""
    keys = random_keys(600, seed=5)
    body = b"".join(bytes.fromhex(key.replace(b"-", b"").decode()) for key in keys)
    wanted = Wanted(0, Row(len(keys), values_at(len(keys)), 0, 0))
    (many,) = checked_blocks([Part(placed_one_by_one([wanted]), 0, memoryview(body))], 4, segment=0).entries
    for entries in (many, np.frombuffer(slot_entries(wanted.row, body, 4, segment=0), FIELDS)):
        assert int(entries["count"].sum()) == len(keys)
        assert (entries["keys"] // KEY_BYTES + entries["count"] <= len(keys)).all()


def rows_of(found: Checked) -> list[bytes]:
    return [each.tobytes() for each in found.entries]
