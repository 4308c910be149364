"""A lookup finds nearly every key at its first look, whatever makes the keys: random ones and counted ones alike."""

from pathlib import Path
from typing import Any

import pytest

from ringkv.dataset.block import rank_of
from tests.support.data import COUNTED, random_keys
from tests.support.packed import opened

PAIRS = 100_000
"""A partition of 32 slots: the fewer keys a dataset has, the more slots share a block."""


@pytest.mark.parametrize("kind", ["random", *COUNTED])
def test_one_lookup_in_200_at_most_has_to_search_all_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    keys = random_keys(PAIRS, seed=1) if kind == "random" else [COUNTED[kind] % number for number in range(PAIRS)]
    searched = 0

    def counted(*args: Any) -> int:
        nonlocal searched
        searched += 1
        return rank_of(*args)

    with opened(tmp_path, dict.fromkeys(keys, b"value")) as store:
        assert store.dataset.manifest.partitions == 512
        for key in keys:
            store.get(key)  # the first look at a block checks it
        monkeypatch.setattr("ringkv.shard.store.rank_of", counted)
        assert all(store.get(key) == b"value" for key in keys)
    assert searched <= PAIRS / 200
