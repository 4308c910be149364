"""The keys that are asked for most are found, whatever comes between, and counted no higher than they were."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ringkv.router.lookup.top import TopKeys
from ringkv.router.policy import HOT_COUNTED, HOT_WINDOW


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.integers(0, 3 * HOT_COUNTED).map(lambda number: b"%d" % min(number, 400)), max_size=3000))
def test_no_key_is_counted_higher_than_it_was_and_few_ones_exactly(keys: list[bytes]) -> None:
    top, right = TopKeys(), Counter(keys)
    for key in keys:
        top.count(key)
    _, counts = top.counted()
    assert len(counts) <= HOT_COUNTED
    assert all(count <= right[key] for key, count in counts.items())
    if len(right) <= HOT_COUNTED:
        assert counts == right
    # Its authors' promise: what comes more often than one in HOT_COUNTED times is among the counted.
    assert all(key in counts for key, count in right.items() if count > len(keys) / HOT_COUNTED)


def test_the_top_of_a_skewed_stream_is_right() -> None:
    rng = random.Random(3)
    weights = [1 / rank for rank in range(1, 50_001)]
    keys = rng.choices(range(50_000), weights, k=100_000)
    top = TopKeys()
    for key in keys:
        top.count(b"%d" % key)
    _, counts = top.counted()
    found = sorted(counts, key=lambda key: -counts[key])[:20]
    right = [b"%d" % key for key, _ in Counter(keys).most_common(20)]
    assert len({*found} & {*right}) >= 19
    assert found[:5] == right[:5]


def test_what_was_asked_for_two_windows_ago_is_forgotten() -> None:
    clock = Clock()
    top = TopKeys(clock)
    top.count(b"a")
    clock.now += 10
    assert top.counted() == (10, {b"a": 1})
    clock.now += HOT_WINDOW
    top.count(b"b")
    top.count(b"a")
    assert top.counted() == (HOT_WINDOW + 10, {b"a": 2, b"b": 1})
    clock.now += HOT_WINDOW
    assert top.counted() == (HOT_WINDOW, {b"a": 1, b"b": 1})
    clock.now += 3 * HOT_WINDOW
    assert top.counted() == (HOT_WINDOW, {})


def test_of_keys_that_were_pushed_out_nothing_is_kept() -> None:
    top = TopKeys()
    for number in range(10 * HOT_COUNTED):
        top.count(b"%d" % number)
    window = top._now  # noqa: SLF001
    assert len(window.counts) == len(window.heap) == HOT_COUNTED
    assert window.too_many.keys() <= window.counts.keys()
