"""Keys of any make are spread evenly over the shards: random ones, and those that somebody has counted up."""

from typing import Final

import numpy as np
import pytest

from ringkv.cluster.position import block_count, partition_count, slot, slot_shift
from ringkv.cluster.ring import build_ring
from tests.support.data import COUNTED, random_keys

PAIRS: Final = 1_000_000
EVEN: Final = 1.06
"""The bound of whole partitions, and chance."""


@pytest.mark.parametrize("kind", ["random", *COUNTED])
def test_the_largest_shard_is_little_larger_than_the_mean(kind: str) -> None:
    keys = random_keys(PAIRS, seed=1) if kind == "random" else map(COUNTED[kind].__mod__, range(PAIRS))
    partitions = partition_count(block_count(PAIRS, 60 * PAIRS))
    slots = np.fromiter(map(slot, keys), dtype=np.int64, count=PAIRS)
    sizes = np.bincount(slots >> slot_shift(partitions), minlength=partitions)
    for shards in (2, 3, 4, 5, 8, 16):
        names = [f"shard-{number}" for number in range(1, shards + 1)]
        ring = build_ring(names, 1, partitions)
        largest = max(int(sizes[ring.owned_by(name)].sum()) for name in names)
        assert largest <= EVEN * PAIRS / shards, f"{shards} shards"
