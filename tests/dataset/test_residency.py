"""Residency: only the pages of leased partitions are in the process, as the operating system counts them."""

import os
from pathlib import Path

from ringkv.shard.store import Store
from tests.support.data import random_keys
from tests.support.memory import cached, evict, resident
from tests.support.packed import lease, pack_pairs, stored


def populate(store: Store) -> None:
    for segment in store.dataset.segments:
        segment.residency.populate(0, segment.path.stat().st_size)


def test_only_leased_partitions_are_resident(tmp_path: Path) -> None:
    pairs = {key: key * 114 for key in random_keys(5000, seed=1)}
    packed = pack_pairs(tmp_path, pairs, segment_size=6 << 20)
    size = sum(path.stat().st_size for path in packed.glob("segment-*"))

    with stored(packed) as store:
        assert len(store.dataset.segments) > 2
        blocks = store.blocks

        def read() -> None:
            """Each pair that is leased, where it is mapped."""
            for key, value in pairs.items():
                if blocks.is_leased(store.block_of(key)):
                    assert store.get(key) == store.get(key) == value

        third = [partition for partition in range(256) if partition // 4 % 3 == 0]
        lease(store, third)
        assert resident(os.getpid(), packed) < 1 << 20  # a lease reads no block
        read()
        share = size * len(third) / 256
        assert share * 0.8 < resident(os.getpid(), packed) < share * 1.2
        blocks.release(third[::2])
        assert share * 0.4 < resident(os.getpid(), packed) < share * 0.7
        blocks.release(third)
        assert resident(os.getpid(), packed) < 1 << 20
        populate(store)  # as a warm-up does that was reading while its partitions were released
        assert resident(os.getpid(), packed) < 1 << 20
        lease(store, third)
        populate(store)
        assert share * 0.8 < resident(os.getpid(), packed) < share * 1.2
        lease(store, range(256))
        read()
        assert resident(os.getpid(), packed) > size * 0.9


def test_what_was_dropped_is_read_back_without_all_that_lies_around_it(tmp_path: Path) -> None:
    pairs = {key: key * 114 for key in random_keys(5000, seed=2)}
    packed = pack_pairs(tmp_path, pairs, segment_size=64 << 20)
    (segment,) = packed.glob("segment-*")
    with stored(packed) as store:
        lease(store, range(256))
        one_of_each = list({store.block_of(key): key for key in pairs}.values())
        for key in one_of_each:
            assert store.get(key) == pairs[key]  # checked in a copy: nothing is mapped yet
        evict(segment)
        before = cached(segment)
        assert before < segment.stat().st_size / 8
        for key in one_of_each[:10]:
            assert store.get(key) == pairs[key]
        assert 0 < cached(segment) - before < 10 * (8 << 12)
