"""Patterns mean what they mean in Redis. tests/clients/test_beside_redis.py asks Redis itself."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.resp.glob import MAX_PATTERN, matcher

NAME = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        (b"*", True),
        (b"", False),
        (NAME, True),
        (NAME.upper(), True),
        (b"f8a2*", True),
        (b"f8a2", False),
        (b"*9e05", True),
        (b"*9e0", False),
        (b"f8??4bb8-*", True),
        (b"f8?4bb8-*", False),
        (b"[e-g]8*", True),
        (b"[g-e]8*", True),
        (b"[^e-g]8*", False),
        (b"[^0-9]8*", True),
        (b"[xyf]8*", True),
        (b"[]8*", False),
        (b"[^]8*", True),
        (b"[\\]f]8*", True),
        (b"\\f8*", True),
        (b"f8\\*", False),
        (b"*a2*bb8*-41dc-*", True),
        (b"*bb8*a2*", False),
        (b"*" * 100 + b"5", True),
        (b"*[abcf", False),
        (b"[abcf", False),
        (b".*", False),
        (b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05|x", False),
    ],
)
def test_patterns_fit_whole_names(pattern: bytes, *, fits: bool) -> None:
    assert bool(matcher(pattern)(NAME)) is fits


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_what_is_escaped_means_itself_and_nothing_else(name: bytes, other: bytes) -> None:
    matches = matcher(re.sub(rb"(?s)(.)", rb"\\\1", name))
    assert matches(name)
    assert bool(matches(other)) is (name.lower() == other.lower())


@given(st.lists(st.sampled_from([b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"\n"]), max_size=12))
def test_any_bytes_are_a_pattern(pieces: list[bytes]) -> None:
    matcher(b"".join(pieces))(NAME)


@pytest.mark.timeout(20)
def test_many_stars_cost_no_more_than_one() -> None:
    """Tried in every way that they could fit, these would take years."""
    assert not matcher(b"*a" * 40 + b"b")(b"a" * 100)
    assert not matcher(b"*?" * 40 + b"b")(b"a" * 200)
    assert matcher(b"*a" * 40)(b"a" * 100)


def test_a_pattern_that_would_take_long_to_compile_is_refused() -> None:
    assert not matcher(b"*a" * (MAX_PATTERN // 2 - 1))(NAME)
    with pytest.raises(ValueError, match="more than 1024 bytes"):
        matcher(b"*a" * (MAX_PATTERN // 2))
