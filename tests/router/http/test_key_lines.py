"""Keys checked by their shape, one or many at once: the slow twin, a regular expression, says the same."""

import re
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringkv.cluster.errors import InvalidKey
from ringkv.cluster.position import are_canonical, are_canonical_lines, canonical, is_canonical
from tests.support.data import random_keys

KEYS = random_keys(5, seed=31)
is_uuid = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
uuids = st.builds(lambda number: str(uuid.UUID(int=number, version=4)).encode(), st.integers(0, 2**128 - 1))
spoilt = st.sampled_from(
    [
        b"",
        b"\n",
        KEYS[0].upper(),
        KEYS[0] + b"\n",
        KEYS[0] + b"\n" + KEYS[1],
        KEYS[0][:-1],
        KEYS[0] + b"0",
        KEYS[0].replace(b"-4", b"-1"),
        KEYS[0][:19] + b"c" + KEYS[0][20:],
        KEYS[0].replace(b"-", b"0"),
        KEYS[0][:35] + b"g",
        KEYS[0] + b"\r",
    ]
)


@given(st.lists(uuids | spoilt))
@example([KEYS[0] + b"\n" + KEYS[1], b""])
@example([b"", KEYS[0] + b"\n" + KEYS[1]])
@example([KEYS[0][:-1], KEYS[0][-1:] + KEYS[1]])
@example([b"00000000-0000-4000-8000-000000000000"])
def test_keys_are_canonical_together_if_they_are_so_one_by_one(keys: list[bytes]) -> None:
    assert [is_canonical(key) for key in keys] == [is_uuid(key) is not None for key in keys]
    assert are_canonical(keys) == all(map(is_uuid, keys))


@pytest.mark.parametrize("at", range(36))
def test_one_byte_makes_all_keys_none(at: int) -> None:
    for byte in range(256):
        spoilt = KEYS[1][:at] + bytes([byte]) + KEYS[1][at + 1 :]
        assert are_canonical([KEYS[0], spoilt, KEYS[2]]) == is_canonical(spoilt) == bool(is_uuid(spoilt))


def is_key(line: bytes) -> bool:
    try:
        canonical(line)
    except InvalidKey:
        return False
    return True


@given(st.lists(uuids | uuids.map(bytes.upper) | spoilt).map(b"\n".join))
@example(b"")
def test_lines_that_are_keys_together_are_so_one_by_one(lines: bytes) -> None:
    assert are_canonical_lines((lines + b"\n").lower()) == all(map(is_key, lines.split(b"\n")))


@pytest.mark.parametrize("lines", [KEYS[0], KEYS[0] + b"\n" + KEYS[1], KEYS[0] + b"\r\n"])
def test_a_line_has_its_end(lines: bytes) -> None:
    assert not are_canonical_lines(lines)
