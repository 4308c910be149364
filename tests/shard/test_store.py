"""Lookup: what is in is found, what is not is not, and what is not loaded is never called missing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cluster.position
import dataset.text
import shard.store
from cluster.errors import CorruptPartition, PartitionNotLoaded
from cluster.lease import Leased
from cluster.position import position
from dataset.pack import pack
from dataset.packed import PackedFile
from shard.store import Store
from tests.support.data import random_keys, write_pairs
from tests.support.processes import short_directory

KEYS = st.uuids(version=4).map(lambda key: str(key).encode())
VALUES = st.binary(max_size=30).map(lambda value: value.replace(b"\n", b"\r"))


@contextmanager
def opened(folder: Path, pairs: dict[bytes, bytes]) -> Iterator[Store]:
    pack(write_pairs(folder / "data", pairs), folder / "packed")
    with PackedFile.open(folder / "packed") as packed:
        store = Store(packed)
        yield store
        del store


@given(st.dictionaries(KEYS, VALUES, max_size=40), st.lists(KEYS, max_size=20))
@settings(max_examples=30, deadline=None)
def test_what_is_in_is_found_and_what_is_not_is_not(pairs: dict[bytes, bytes], others: list[bytes]) -> None:
    with short_directory() as folder, opened(folder, pairs) as store:
        store.load(range(256))
        assert store.keys == len(pairs)
        assert {key: store.get(key) for key in [*pairs, *others]} == {key: pairs.get(key) for key in [*pairs, *others]}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1_000, 30_000])
def test_datasets_of_any_size_are_read_whole(tmp_path: Path, size: int) -> None:
    pairs = {key: b"%d" % number for number, key in enumerate(random_keys(size, seed=size))}
    with opened(tmp_path, pairs) as store:
        store.load(range(256))
        assert [store.get(key) for key in pairs] == list(pairs.values())
        assert {store.get(key) for key in random_keys(2_000, seed=-1 - size)} == {None}


def test_keys_that_share_their_bytes_are_told_apart(tmp_path: Path) -> None:
    """Bytes of one key are found across the border of two others, at no multiple of 16."""
    rng = random.Random(3)
    pairs: dict[bytes, bytes] = {}
    for number in range(20_000):
        # Of few different bytes, and the same byte over and over.
        raw = bytearray(rng.choice(b"\x44\x84") for _ in range(16))
        raw[6], raw[8] = 0x44, 0x84
        pairs[str(UUID(bytes=bytes(raw))).encode()] = b"%d" % number
    kept = {key: value for key, value in pairs.items() if rng.random() < 0.5}
    with opened(tmp_path, kept) as store:
        store.load(range(256))
        assert {key: store.get(key) for key in pairs} == {key: kept.get(key) for key in pairs}


@pytest.mark.parametrize("bits", [0, 2, 8])
def test_keys_with_equal_positions_are_all_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    """With a hash that has only a few different values, which no real one can be made to have in a test."""

    def poor(key: bytes) -> int:
        return position(key) >> (64 - bits) << (64 - bits)

    for module in (cluster.position, dataset.text, shard.store):
        monkeypatch.setattr(module, "position", poor)
    keys = random_keys(3_000, seed=bits)
    pairs = {key: key[::-1] for key in keys[:2_000]}
    with opened(tmp_path, pairs) as store:
        store.load(range(256))
        assert {key: store.get(key) for key in keys} == {key: pairs.get(key) for key in keys}


def test_keys_that_are_badly_spread_are_found(tmp_path: Path) -> None:
    """All in the first or the last hundredth of their partition: far from where the lookup expects them."""
    within = 1 << 56
    pairs = {
        key: b"x%b" % key
        for key in random_keys(60_000, seed=8)
        if position(key) % within < within // 100 or position(key) % within > within - within // 100
    }
    assert len(pairs) > 800
    with opened(tmp_path, pairs) as store:
        store.load(range(256))
        assert {key: store.get(key) for key in pairs} == pairs


def test_a_partition_that_is_not_loaded_says_so_and_never_that_a_key_is_missing(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(2000, seed=4), b"value")
    with opened(tmp_path, pairs) as store:
        store.load([0, 7, 255])
        store.unload([7, 8])
        assert store.partitions == 2
        for key in [*pairs, *random_keys(1_000, seed=5)]:
            partition = position(key) >> 56
            if partition in {0, 255}:
                assert store.get(key) == pairs.get(key)
            else:
                with pytest.raises(PartitionNotLoaded, match=f"partition {partition} is not loaded here"):
                    store.get(key)
        assert store.keys == sum(position(key) >> 56 in {0, 255} for key in pairs)
        assert Leased(store.keys, store.bytes) == store.totals(range(256))


@pytest.mark.parametrize("size", [1, 3, 1_000, 30_000])
def test_an_explanation_agrees_with_the_lookup(tmp_path: Path, size: int) -> None:
    pairs = {key: b"%d" % number for number, key in enumerate(random_keys(size, seed=size))}
    with opened(tmp_path, pairs) as store:
        content = (tmp_path / "packed").read_bytes()
        store.load(range(128))
        ranks: dict[int, list[int | None]] = {}
        for key in sorted([*pairs, *random_keys(500, seed=-2)], key=position):
            explained = store.explain(key)
            assert (explained.position, explained.partition) == (position(key), position(key) >> 56)
            assert explained.loaded == (explained.partition < 128)
            if not explained.loaded:
                assert explained.refusal == f"partition {explained.partition} is not loaded here; ask an owner of it"
                assert (explained.found, explained.rank, explained.offset, explained.size) == (None, None, None, None)
            elif explained.found:
                assert explained.offset is not None
                assert explained.size is not None
                assert content[explained.offset : explained.offset + explained.size] == store.get(key) == pairs[key]
                ranks.setdefault(explained.partition, []).append(explained.rank)
            else:
                assert store.get(key) is None
                assert key not in pairs
            steps = ["hash", *(["find"] if explained.loaded else []), *(["read"] if explained.found else [])]
            assert list(explained.ns) == steps
            assert all(nanoseconds >= 0 for nanoseconds in explained.ns.values())
        assert all(found == list(range(len(found))) for found in ranks.values())


def test_loading_and_unloading_may_be_repeated(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(1000, seed=6), b"value")
    with opened(tmp_path, pairs) as store:
        rng = random.Random(0)
        loaded: set[int] = set()
        for _ in range(50):
            some = set(rng.sample(range(256), 40))
            if rng.random() < 0.5:
                store.load(some)
                loaded |= some
            else:
                store.unload(some)
                loaded -= some
            assert store.partitions == len(loaded)
            assert store.keys == sum(position(key) >> 56 in loaded for key in pairs)
            assert store.bytes == (8 + 16 + 4 + len(b"value")) * store.keys + 4 * len(loaded)
            assert Leased(store.keys, store.bytes) == store.totals(loaded)
            for key in rng.sample(list(pairs), 30):
                if position(key) >> 56 in loaded:
                    assert store.get(key) == b"value"


def test_a_damaged_partition_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(2000, seed=9), b"a value to be damaged")
    pack(write_pairs(tmp_path / "data", pairs), tmp_path / "packed")
    content = bytearray((tmp_path / "packed").read_bytes())
    with PackedFile.open(tmp_path / "packed") as packed:
        content[packed.load(100).values + 5] ^= 1
    (tmp_path / "packed").write_bytes(content)
    with PackedFile.open(tmp_path / "packed") as packed:
        store = Store(packed)
        store.load(range(256))
        assert set(store.corrupt) == {100}
        assert store.partitions == 255
        for key, value in pairs.items():
            if position(key) >> 56 == 100:
                with pytest.raises(CorruptPartition, match="partition 100"):
                    store.get(key)
                assert "partition 100 is corrupt" in (store.explain(key).refusal or "")
            else:
                assert store.get(key) == value
        del store
