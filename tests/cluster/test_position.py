"""Keys: one canonical form, one position, and partitions that are equal arcs of the ring."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ringkv.cluster.errors import InvalidKey
from ringkv.cluster.limits import BLOCK_BYTES, KEYS_PER_BLOCK, MAX_BLOCKS, MIN_BLOCKS, MIN_KEYS_PER_BLOCK
from ringkv.cluster.position import (
    SLOTS,
    block_count,
    canonical,
    is_canonical,
    partition_count,
    position,
    shift_to,
    slot,
    slot_at,
    slot_shift,
)

KEYS = st.uuids(version=4).map(lambda key: str(key).encode())


@given(KEYS, st.data())
def test_every_way_to_write_a_key_is_the_same_key(key: bytes, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=36, max_size=36))
    written = bytes(byte - 32 if up and 97 <= byte <= 102 else byte for byte, up in zip(key, upper, strict=True))
    assert canonical(written) == key
    assert is_canonical(key)
    assert position(canonical(written)) == position(key)
    assert slot(canonical(written)) == slot(key)


def test_each_character_of_a_canonical_key_is_looked_at() -> None:
    key = bytearray(b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05")
    slow = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
    for at, was in enumerate(bytes(key)):
        for byte in range(256):
            key[at] = byte
            assert is_canonical(bytes(key)) == bool(slow(key))
        key[at] = was


@given(st.one_of(st.binary(max_size=50), st.uuids().map(lambda key: str(key).encode())))
def test_what_is_no_uuid_of_version_4_is_refused(text: bytes) -> None:
    try:
        parsed = uuid.UUID(text.decode())
        wanted = parsed.version == 4 and str(parsed).encode() == text.lower()
    except ValueError:
        wanted = False
    if wanted:
        assert canonical(text) == text.lower()
    else:
        with pytest.raises(InvalidKey, match=r"^not a UUID version 4: "):
            canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"f8a24bb8eff841dc929b10b4c3e49e05",
        b"{f8a24bb8-eff8-41dc-929b-10b4c3e49e05}",
        b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05\n",
        b" f8a24bb8-eff8-41dc-929b-10b4c3e49e05",
        b"f8a24bb8-eff8-11dc-929b-10b4c3e49e05",
        b"f8a24bb8-eff8-41dc-c29b-10b4c3e49e05",
        b"f8a24bb8-eff8-41dc-929b-10b4c3e49e0g",
        b"\xff" * 36,
        b"x" * 5000,
    ],
)
def test_the_refusal_of_a_key_is_one_short_line(text: bytes) -> None:
    with pytest.raises(InvalidKey) as refusal:
        canonical(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def crc16(data: bytes) -> int:
    """As the appendix of the Redis Cluster specification computes it: polynomial 0x1021, nothing reflected."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def test_slots_are_those_of_redis_cluster() -> None:
    """The specification's own check value, and what CLUSTER KEYSLOT of Redis 7 answered for these keys."""
    assert crc16(b"123456789") == 0x31C3
    assert slot(b"123456789") == 0x31C3 & 0x3FFF == 12739
    assert slot(b"foo") == 12182
    assert slot(b"somekey") == 11058
    assert slot(b"") == 0


@given(KEYS)
def test_a_slot_is_the_crc16_of_the_key(key: bytes) -> None:
    assert slot(key) == crc16(key) % SLOTS == slot_at(position(key))


def test_positions_are_fixed_for_ever() -> None:
    """Packed datasets and running clusters depend on this number: the slot, then the upper bits of xxh3_64, seed 0."""
    key = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
    assert position(key) == crc16(key) % SLOTS << 50 | xxh3_64_intdigest(key) >> 14
    assert position(key) == 0x53D4A93B5EF69F4C
    assert position(b"") == 0x2D06800538D394C2 >> 14


@given(st.integers(0, 2**64 - 1), st.sampled_from([2**bits for bits in range(27)]))
def test_blocks_and_partitions_are_equal_arcs(place: int, arcs: int) -> None:
    assert place >> shift_to(arcs) == place * arcs // 2**64


@given(KEYS, st.sampled_from([2**bits for bits in range(15)]))
def test_a_slot_alone_tells_the_partition(key: bytes, partitions: int) -> None:
    assert slot(key) >> slot_shift(partitions) == position(key) >> shift_to(partitions)


@given(st.integers(0, 10**11), st.integers(0, 10**15))
def test_blocks_are_a_power_of_two_within_the_limits(keys: int, size: int) -> None:
    count = block_count(keys, size)
    assert MIN_BLOCKS <= count <= MAX_BLOCKS
    assert count.bit_count() == 1
    wanted = max(keys / KEYS_PER_BLOCK, min(size / BLOCK_BYTES, keys / MIN_KEYS_PER_BLOCK))
    assert count == MIN_BLOCKS or count <= wanted * 2**0.5
    assert count == MAX_BLOCKS or wanted <= count * 2**0.5
    assert partition_count(count) == min(count, SLOTS)


@pytest.mark.parametrize(
    ("keys", "size", "blocks", "partitions"),
    [
        (0, 0, 256, 256),
        (10_000, 10**6, 256, 256),
        (92_000, 10**7, 256, 256),
        (93_000, 10**7, 512, 512),
        (1_000_000, 10**8, 4096, 4096),
        (100_000_000, 8 * 10**9, 1 << 19, 16_384),
        (10**12, 10**15, 1 << 26, 16_384),
        (100, 64 << 30, 256, 256),
        (100_000, 64 << 30, 32_768, 16_384),
    ],
)
def test_counts_by_example(keys: int, size: int, blocks: int, partitions: int) -> None:
    assert block_count(keys, size) == blocks
    assert partition_count(blocks) == partitions
