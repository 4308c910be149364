"""Lookup of many keys at once: the same values and the same errors as one by one, and hardly a key that needs that."""

import os
from pathlib import Path

import pytest

import ringkv.cluster.position
from ringkv.cluster.errors import LargeValue, PartitionNotLeased
from ringkv.cluster.limits import LARGE_VALUE
from ringkv.cluster.position import slot
from ringkv.shard.body import NotInMemory
from ringkv.shard.large import BoundedStore
from ringkv.shard.store import Store
from ringkv.shard.together import MOST
from tests.support.data import COUNTED, random_keys
from tests.support.packed import lease, opened, pack_pairs, stored

PAIRS = 20_000


def one_by_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys for which `get` is called from now on."""
    asked: list[bytes] = []
    get = store.get

    def counted(key: bytes) -> bytes | None:
        asked.append(key)
        return get(key)

    monkeypatch.setattr(store, "get", counted)
    return asked


@pytest.mark.parametrize(
    ("kind", "blocks", "segment_size"),
    [
        ("random", 1 << 8, None),
        ("random", 1 << 14, 200_000),
        ("random", 1 << 15, 200_000),
        *((kind, 1 << 8, 200_000) for kind in COUNTED),
    ],
)
def test_nearly_all_keys_are_found_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, blocks: int, segment_size: int | None
) -> None:
    monkeypatch.setattr(ringkv.cluster.position, "MIN_BLOCKS", blocks)
    keys = random_keys(PAIRS, seed=1) if kind == "random" else [COUNTED[kind] % number for number in range(PAIRS)]
    pairs = {key: key[: number % 37] for number, key in enumerate(keys)}
    with opened(tmp_path, pairs, segment_size) as store:
        assert store.dataset.manifest.blocks == blocks
        assert (len(store.dataset.segments) > 1) == (segment_size is not None)
        assert [*store.each(keys)] == [*pairs.values()]  # the first look at a block checks it
        asked = one_by_one(store, monkeypatch)
        assert [*store.each(keys)] == [*pairs.values()]
        assert len(asked) <= PAIRS / 100


def test_keys_that_are_not_there_have_no_value(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(2_000, seed=2), b"value")
    keys = [key for both in zip(pairs, random_keys(2_000, seed=3), strict=True) for key in both]
    with opened(tmp_path, pairs) as store:
        for _ in range(2):
            assert [*store.each(keys)] == [pairs.get(key) for key in keys]


def test_an_error_comes_behind_the_values_of_the_keys_before(tmp_path: Path) -> None:
    pairs = {key: key[:9] for key in random_keys(PAIRS, seed=4)}
    there, elsewhere = ([key for key in pairs if (slot(key) < 1 << 13) is half] for half in (True, False))
    keys = [*there[: MOST + 100], elsewhere[0], *there]
    with stored(pack_pairs(tmp_path, pairs)) as store:
        lease(store, range(128))
        found: list[bytes | None] = []
        with pytest.raises(PartitionNotLeased):
            found.extend(store.each(keys))
        assert found == [pairs[key] for key in keys[: MOST + 100]]


def test_a_segment_in_doubt_that_is_cut_off_is_not_looked_at(tmp_path: Path) -> None:
    """Through the mapping that would be SIGBUS."""
    pairs = {key: key[:9] for key in random_keys(PAIRS, seed=7)}
    with opened(tmp_path, pairs, 200_000) as store:
        assert [*store.each([*pairs])] == [*pairs.values()]
        segment_of = {key: store.dataset.segment_of(store.block_of(key)) for key in pairs}
        cut_off, others = ([key for key in pairs if (not segment_of[key]) is first] for first in (True, False))
        os.truncate(store.dataset.segments[0].path, 0)
        store.blocks.distrust(0)
        found: list[bytes | None] = []
        with pytest.raises((NotInMemory, PartitionNotLeased)):
            found.extend(store.each([*others[:500], *cut_off]))
        assert found == [pairs[key] for key in others[:500]]


def test_a_large_value_among_many_is_told_by_its_size(tmp_path: Path) -> None:
    pairs = {key: key[:9] for key in random_keys(1_000, seed=5)}
    large = next(iter(pairs))
    pairs[large] = b"x" * (LARGE_VALUE + 1)
    with opened(tmp_path, pairs) as store:
        bounded = BoundedStore(store.dataset, store.blocks)
        with pytest.raises(LargeValue):
            list(bounded.each([*pairs]))


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    keys = random_keys(1_000, seed=6)
    with opened(tmp_path, dict.fromkeys(keys, b"value")) as store, pytest.raises(ValueError, match="hex"):
        list(store.each([*keys, b"x" * 36]))
