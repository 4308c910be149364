"""Durations in buckets: what goes in can be told again, to the width of a bucket."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.router.lookup.durations import BOUNDS, Durations, total

TIMES = st.lists(st.floats(0, 20), max_size=200)


def durations_of(times: list[float]) -> Durations:
    found = Durations()
    for seconds in times:
        found.observe(seconds)
    return found


@given(TIMES)
def test_every_duration_is_counted_in_the_bucket_that_ends_at_or_above_it(times: list[float]) -> None:
    found = durations_of(times)
    assert found.count == len(times)
    assert found.seconds == pytest.approx(sum(times))
    for step, bound in enumerate(BOUNDS):
        assert sum(found.counts[: step + 1]) == sum(seconds <= bound for seconds in times)


@given(st.lists(st.floats(BOUNDS[1], BOUNDS[-1]), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_right_to_the_width_of_a_bucket(times: list[float], share: float) -> None:
    exact = sorted(times)[ceil(share * len(times)) - 1]
    assert exact / 1.5 <= durations_of(times).quantile(share) <= exact * 1.5


def test_quantiles_at_the_ends() -> None:
    assert Durations().quantile(0.5) == 0
    assert durations_of([100.0]).quantile(0.5) == BOUNDS[-1]


@given(TIMES, TIMES)
def test_sums_and_differences(before: list[float], after: list[float]) -> None:
    both = total([durations_of(before), durations_of(after)])
    assert both.counts == durations_of(before + after).counts
    assert both.since(durations_of(before)).counts == durations_of(after).counts
