"""Lookup: what is in is found, what is not is not, and what is not leased is never called missing."""

import random
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ringkv.cluster.position
import ringkv.dataset.text
import ringkv.shard.entries
import ringkv.shard.store
from ringkv.cluster.errors import CorruptBlock, PartitionNotLeased
from ringkv.cluster.lease import Leased
from ringkv.cluster.position import digest, position, shift_to
from tests.support.damage import flip_value_byte
from tests.support.data import random_keys
from tests.support.packed import lease, opened, pack_pairs, stored
from tests.support.processes import short_directory

KEYS = st.uuids(version=4).map(lambda key: str(key).encode())
VALUES = st.binary(max_size=30).map(lambda value: value.replace(b"\n", b"\r"))


@pytest.fixture
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many blocks a small dataset gets in this test: up to 2^14 a block is a partition of whole slots."""
    count: int = request.param
    monkeypatch.setattr(ringkv.cluster.position, "MIN_BLOCKS", count)
    return count


@pytest.mark.parametrize(("blocks", "examples"), [(1 << 8, 30), (1 << 14, 5), (1 << 15, 5)], indirect=["blocks"])
def test_what_is_in_is_found_and_what_is_not_is_not(blocks: int, examples: int) -> None:
    @given(st.dictionaries(KEYS, VALUES, max_size=40), st.lists(KEYS, max_size=20))
    @settings(max_examples=examples, deadline=None)
    def holds(pairs: dict[bytes, bytes], others: list[bytes]) -> None:
        with short_directory() as folder, opened(folder, pairs) as store:
            assert store.dataset.manifest.blocks == blocks
            assert store.blocks.keys == len(pairs)
            keys = [*pairs, *others]
            for _ in range(2):  # the first look at a block checks it, the second one is at its mapping
                assert {key: store.get(key) for key in keys} == {key: pairs.get(key) for key in keys}

    holds()


@pytest.mark.parametrize(
    ("blocks", "size"),
    [*((1 << 8, size) for size in (0, 1, 2, 3, 1_000, 30_000)), (1 << 14, 30_000), (1 << 15, 2), (1 << 15, 30_000)],
    indirect=["blocks"],
)
def test_datasets_of_any_size_are_read_whole(tmp_path: Path, blocks: int, size: int) -> None:
    pairs = {key: b"%d" % number for number, key in enumerate(random_keys(size, seed=size))}
    with opened(tmp_path, pairs) as store:
        assert store.dataset.manifest.blocks == blocks
        for _ in range(2):
            assert [store.get(key) for key in pairs] == list(pairs.values())
            assert {store.get(key) for key in random_keys(2_000, seed=-1 - size)} == {None}


@pytest.mark.parametrize("segment_size", [1, 50_000])
def test_a_dataset_in_many_segments_is_read_whole(tmp_path: Path, segment_size: int) -> None:
    pairs = {key: b"%d" % number for number, key in enumerate(random_keys(10_000, seed=11))}
    with opened(tmp_path, pairs, segment_size) as store:
        assert len(store.dataset.segments) > 3
        for _ in range(2):
            assert {key: store.get(key) for key in pairs} == pairs
        assert {store.get(key) for key in random_keys(2_000, seed=12)} == {None}


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
        for _ in range(2):
            assert {key: store.get(key) for key in pairs} == {key: kept.get(key) for key in pairs}


@pytest.mark.parametrize(
    ("blocks", "bits"), [(1 << 8, 0), (1 << 8, 2), (1 << 8, 8), (1 << 14, 2), (1 << 15, 2)], indirect=["blocks"]
)
def test_keys_with_equal_positions_are_all_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, bits: int
) -> None:
    """With hashes that have only a few different values, which no real ones can be made to have in a test."""

    def poor(key: bytes) -> int:
        return digest(key) >> (64 - bits) << (64 - bits)

    def always_one_slot(_key: bytes, _start: int) -> int:
        return 7

    for module in (ringkv.cluster.position, ringkv.dataset.text, ringkv.shard.store):
        monkeypatch.setattr(module, "digest", poor)
    for module in (ringkv.cluster.position, ringkv.shard.store):
        monkeypatch.setattr(module, "crc_hqx", always_one_slot)
    for module, name in ((ringkv.dataset.text, "slots"), (ringkv.shard.entries, "slots_of")):
        monkeypatch.setattr(module, name, lambda keys: np.full(len(keys), 7, np.uint16))
    keys = random_keys(3_000, seed=bits)
    pairs = {key: key[::-1] for key in keys[:2_000]}
    with opened(tmp_path, pairs) as store:
        assert store.dataset.manifest.blocks == blocks
        for _ in range(2):
            assert {key: store.get(key) for key in keys} == {key: pairs.get(key) for key in keys}


def keys_of_one_block(count: int) -> list[bytes]:
    """What somebody who knows the hashes would ask for: all keys in one of 256 blocks."""
    rng = random.Random(8)
    found: list[bytes] = []
    while len(found) < count:
        text = b"%08x-%04x-4%03x-8%03x-%012x" % tuple(rng.getrandbits(bits) for bits in (32, 16, 12, 12, 48))
        if position(text) >> shift_to(256) == 77:
            found.append(text)
    return found


def test_keys_that_are_all_in_one_block_are_found(tmp_path: Path) -> None:
    keys = keys_of_one_block(1_000)
    pairs = {key: b"x%b" % key for key in keys[:700]}
    with opened(tmp_path, pairs) as store:
        assert max(store.dataset.blocks_of(77)["keys"]) == 700
        for _ in range(2):
            assert {key: store.get(key) for key in keys} == {key: pairs.get(key) for key in keys}
            assert {store.get(key) for key in random_keys(1_000, seed=13)} == {None}


def test_keys_that_are_badly_spread_are_found(tmp_path: Path) -> None:
    """All in the first quarter or the last eighth of their block: far from where the lookup expects them."""
    within = 1 << shift_to(256)
    keys = keys_of_one_block(1_000)
    pairs = {
        key: b"x%b" % key
        for key in keys
        if position(key) % within < within // 4 or position(key) % within > within - within // 8
    }
    assert len(pairs) > 300
    with opened(tmp_path, pairs) as store:
        for _ in range(2):
            assert {key: store.get(key) for key in keys} == {key: pairs.get(key) for key in keys}


def test_a_partition_that_is_not_leased_says_so_and_never_that_a_key_is_missing(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(2000, seed=4), b"value")
    with stored(pack_pairs(tmp_path, pairs)) as store:
        blocks = store.blocks
        lease(store, [0, 7, 255])
        blocks.release([7, 8])
        assert len(blocks.rows) == 2
        for key in [*pairs, *random_keys(1_000, seed=5)]:
            partition = position(key) >> 56
            if partition in {0, 255}:
                assert store.get(key) == pairs.get(key)
            else:
                with pytest.raises(PartitionNotLeased, match=f"partition {partition} is not leased here"):
                    store.get(key)
        assert blocks.keys == sum(position(key) >> 56 in {0, 255} for key in pairs)
        assert Leased(blocks.keys, blocks.bytes) == store.totals(range(256))


@pytest.mark.parametrize("size", [1, 3, 1_000, 30_000])
def test_an_explanation_agrees_with_the_lookup(tmp_path: Path, size: int) -> None:
    pairs = {key: b"%d" % number for number, key in enumerate(random_keys(size, seed=size))}
    with stored(pack_pairs(tmp_path, pairs)) as store:
        content = [segment.path.read_bytes() for segment in store.dataset.segments]
        lease(store, range(128))
        ranks: dict[int, list[int | None]] = {}
        seen: set[int] = set()
        for key in sorted([*pairs, *random_keys(500, seed=-2)], key=position):
            explained = store.explain(key)
            assert (explained.position, explained.block) == (position(key), position(key) >> 56)
            assert explained.partition == explained.block
            leased = explained.partition < 128
            assert (explained.refusal is None) == leased
            assert explained.checked == (explained.block in seen)
            if not leased:
                assert explained.refusal == f"partition {explained.partition} is not leased here; ask an owner of it"
                assert (explained.found, explained.rank, explained.offset, explained.size) == (None, None, None, None)
            elif explained.found:
                assert explained.offset is not None
                assert explained.size is not None
                segment = content[store.dataset.segment_of(explained.partition)]
                assert segment[explained.offset : explained.offset + explained.size] == store.get(key) == pairs[key]
                ranks.setdefault(explained.block, []).append(explained.rank)
                seen.add(explained.block)
            else:
                assert store.get(key) is None
                assert key not in pairs
                seen.update({explained.block} if store.blocks.row(explained.block).keys else ())
            steps = ["hash", *(["find"] if leased else []), *(["read"] if explained.found else [])]
            assert list(explained.ns) == steps
            assert all(nanoseconds >= 0 for nanoseconds in explained.ns.values())
        assert all(found == list(range(len(found))) for found in ranks.values())


def test_leasing_and_releasing_may_be_repeated(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(1000, seed=6), b"value")
    with stored(pack_pairs(tmp_path, pairs, segment_size=1)) as store:
        blocks = store.blocks
        rng = random.Random(0)
        leased: set[int] = set()
        read: set[int] = set()
        for _ in range(50):
            some = set(rng.sample(range(256), 40))
            if rng.random() < 0.5:
                lease(store, sorted(some - leased))
                leased |= some
            else:
                blocks.release(some)
                leased -= some
                read -= some
            assert set(blocks.rows) == leased
            assert blocks.keys == sum(position(key) >> 56 in leased for key in pairs)
            assert blocks.bytes == sum(blocks.row(block).size for block in leased)
            assert Leased(blocks.keys, blocks.bytes) == store.totals(leased)
            for key in rng.sample(list(pairs), 30):
                if position(key) >> 56 in leased:
                    assert store.get(key) == b"value"
                    read.add(position(key) >> 56)
            assert blocks.checked_bytes == sum(blocks.row(block).size for block in read)


def test_a_damaged_block_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    pairs = dict.fromkeys(random_keys(2000, seed=9), b"a value to be damaged")
    packed = pack_pairs(tmp_path, pairs)
    flip_value_byte(packed, 100)
    with stored(packed) as store:
        lease(store)
        for key, value in pairs.items():
            if position(key) >> 56 == 100:
                with pytest.raises(CorruptBlock, match=f"{packed}: block 100 is corrupt: its bytes do not match"):
                    store.get(key)
                assert "block 100 is corrupt" in (store.explain(key).refusal or "")
            else:
                assert store.get(key) == value
        assert set(store.blocks.corrupt) == {100}
        assert store.blocks.checked_bytes == store.blocks.bytes - store.blocks.row(100).size


def test_of_a_partition_of_several_blocks_only_the_damaged_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.cluster.position, "MIN_BLOCKS", 1 << 16)
    pairs = dict.fromkeys(random_keys(60_000, seed=10), b"value")
    packed = pack_pairs(tmp_path, pairs)
    shift = shift_to(1 << 16)
    damaged = next(position(key) >> shift for key in pairs)
    flip_value_byte(packed, damaged)
    others = [key for key in pairs if position(key) >> shift != damaged]
    assert sum(position(key) >> shift_to(1 << 14) == damaged >> 2 for key in others) > 0
    with stored(packed) as store:
        lease(store)
        assert {store.get(key) for key in others} == {b"value"}
        for key in pairs.keys() - set(others):
            with pytest.raises(CorruptBlock, match=f"block {damaged} is corrupt"):
                store.get(key)
        assert set(store.blocks.corrupt) == {damaged}
