"""Keys: one canonical form, one position, and partitions that are equal arcs of the ring."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64

from cluster.errors import InvalidKey
from cluster.limits import KEYS_PER_PARTITION, MAX_PARTITIONS, MIN_PARTITIONS, PARTITION_BYTES
from cluster.position import canonical, is_canonical, partition_count, partition_shift, position

KEYS = st.uuids(version=4).map(lambda key: str(key).encode())


@given(KEYS, st.data())
def test_every_way_to_write_a_key_is_the_same_key(key: bytes, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=36, max_size=36))
    written = bytes(byte - 32 if up and 97 <= byte <= 102 else byte for byte, up in zip(key, upper, strict=True))
    assert canonical(written) == key
    assert is_canonical(key)
    assert position(canonical(written)) == xxh3_64(key).intdigest()


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


def test_positions_are_fixed_for_ever() -> None:
    """Packed files and running clusters depend on this number: xxh3_64 with seed 0."""
    assert (
        position(b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05")
        == xxh3_64(b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05").intdigest()
    )
    assert position(b"") == 0x2D06800538D394C2


@given(st.integers(0, 2**64 - 1), st.sampled_from([2**bits for bits in range(17)]))
def test_partitions_are_equal_arcs(place: int, partitions: int) -> None:
    assert place >> partition_shift(partitions) == place * partitions // 2**64


@given(st.integers(0, 10**9), st.integers(0, 10**13))
def test_partitions_are_a_power_of_two_within_the_limits(keys: int, size: int) -> None:
    count = partition_count(keys, size)
    assert MIN_PARTITIONS <= count <= MAX_PARTITIONS
    assert count.bit_count() == 1
    wanted = max(keys / KEYS_PER_PARTITION, size / PARTITION_BYTES)
    assert count == MIN_PARTITIONS or count <= wanted * 2**0.5
    assert count == MAX_PARTITIONS or wanted <= count * 2**0.5


@pytest.mark.parametrize(
    ("keys", "size", "count"),
    [
        (0, 0, 256),
        (10_000, 10**6, 256),
        (1_000_000, 10**8, 4096),
        (10**12, 10**15, 65_536),
        (100, 64 << 30, 4096),
    ],
)
def test_partition_counts_by_example(keys: int, size: int, count: int) -> None:
    assert partition_count(keys, size) == count
