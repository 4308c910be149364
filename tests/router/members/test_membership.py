"""Who takes part, who does not and why, and how long a shard that comes and goes is kept out."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.lease import Offered
from ringkv.process.address import Address
from ringkv.router.lookup.durations import Durations, total
from ringkv.router.lookup.hedging import HedgeBudget, HedgeDelay
from ringkv.router.members.flapping import FlapGuard
from ringkv.router.members.membership import Candidate, Identity, choose
from ringkv.router.policy import (
    FLAP_HOLD_MAX,
    FLAP_HOLD_MIN,
    FLAP_UPTIME,
    HEDGE_BUDGET,
    HEDGE_BURST,
    HEDGE_DELAY_MAX,
    HEDGE_DELAY_MIN,
)

DATA = Offered(0, "data", 256)


def shard(name: str, port: int, dataset: str = "data", *, run: str = "", draining: bool = False) -> Candidate:
    """A shard that is pinned to its dataset."""
    identity = Identity(name, run or f"run-{port}", (Offered(0, dataset, 256),))
    return Candidate(Address("host", port), identity, draining)


CANDIDATES = st.lists(
    st.builds(
        lambda name, port, dataset, draining: shard(name, port, dataset, draining=draining),
        st.sampled_from("abcd"),
        st.integers(1, 50),
        st.sampled_from(["data", "other"]),
        st.booleans(),
    ),
    max_size=10,
    unique_by=lambda candidate: candidate.address,
)


def test_all_shards_of_one_dataset_take_part() -> None:
    membership = choose([shard("a", 1), shard("b", 2)], None, {})
    assert membership.names == {"a", "b"}
    assert membership.kept_out == {}
    assert membership.version == DATA


def test_nobody_is_nobody() -> None:
    assert choose([], None, {}).shards == {}
    assert choose([], DATA, {"a": "run-1"}).shards == {}


def test_who_has_nothing_yet_is_kept_out_and_counts_for_nothing() -> None:
    new = Candidate(Address("host", 1), Identity("a", "run-1", ()))
    membership = choose([new], None, {})
    assert (membership.version, membership.shards) == (None, {})
    assert membership.kept_out == {new.address: "it has no dataset yet"}
    assert choose([new, shard("b", 2)], None, {}).names == {"b"}


def test_of_two_shards_of_one_name_the_one_that_serves_stays() -> None:
    first, second = shard("a", 1), shard("a", 2)
    for serving, stays, goes in ((first, first, second), (second, second, first)):
        membership = choose([first, second], DATA, {"a": serving.identity.run_id})
        assert membership.shards == {"a": stays}
        assert membership.kept_out == {goes.address: f"the name a is taken by {stays.address}; give it another"}


def test_one_shard_with_two_addresses_is_one_shard() -> None:
    membership = choose([shard("a", 1, run="x"), shard("a", 2, run="x")], None, {})
    assert membership.names == {"a"}
    assert membership.kept_out == {}


def test_the_dataset_that_is_served_stays_though_another_has_more_shards() -> None:
    candidates = [shard("a", 1), shard("b", 2, "other"), shard("c", 3, "other")]
    membership = choose(candidates, DATA, {"a": "run-1"})
    assert membership.names == {"a"}
    assert {address.port: reason for address, reason in membership.kept_out.items()} == {
        2: "it serves dataset other, this cluster data",
        3: "it serves dataset other, this cluster data",
    }
    assert choose(candidates, None, {}).names == {"b", "c"}
    assert choose(candidates[1:], DATA, {}).names == {"b", "c"}


def test_who_leaves_is_left_out_as_long_as_somebody_stays() -> None:
    leaving, staying = shard("a", 1, draining=True), shard("b", 2)
    assert choose([leaving, staying], DATA, {}).names == {"b"}
    assert choose([leaving], DATA, {}).names == {"a"}


def test_the_next_dataset_takes_over_when_the_last_shard_of_the_served_one_leaves() -> None:
    new = [shard("a", 1, "new"), shard("b", 2, "new")]
    assert choose([*new, shard("c", 3)], DATA, {"c": "run-3"}).names == {"c"}
    membership = choose([*new, shard("c", 3, draining=True)], DATA, {"c": "run-3"})
    assert membership.names == {"a", "b"}
    assert membership.kept_out == {}, "who leaves needs no reason to be left out"
    everybody_leaves = [shard("a", 1, "new", draining=True), shard("c", 3, draining=True)]
    assert choose(everybody_leaves, DATA, {"c": "run-3"}).names == {"c"}


def test_who_is_held_is_left_out_as_long_as_somebody_is_not() -> None:
    assert choose([shard("a", 1), shard("b", 2)], None, {}, ["a"]).names == {"b"}
    assert choose([shard("a", 1)], None, {}, ["a"]).names == {"a"}


@given(CANDIDATES, st.sampled_from([None, DATA]), st.randoms())
def test_the_choice_does_not_depend_on_the_order_and_is_of_one_dataset(
    candidates: list[Candidate], served: Offered | None, rng: object
) -> None:
    shuffled = list(candidates)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    membership = choose(candidates, served, {})
    assert membership == choose(shuffled, served, {})
    assert bool(membership.shards) == bool(candidates)
    assert len({taking.identity.versions for taking in membership.shards.values()}) <= 1
    assert not {taking.address for taking in membership.shards.values()} & membership.kept_out.keys()


def test_a_shard_that_comes_and_goes_is_kept_out_longer_each_time() -> None:
    now = 0.0
    guard = FlapGuard(lambda: now)
    holds = [guard.lost("a", 0.1) for _ in range(9)]
    assert holds[0] == FLAP_HOLD_MIN
    assert all(later == min(2 * hold, FLAP_HOLD_MAX) for hold, later in pairwise(holds))
    assert holds[-1] == FLAP_HOLD_MAX
    assert guard.held() == {"a"}
    now = FLAP_HOLD_MAX
    assert guard.held() == frozenset()


def test_a_shard_that_served_long_enough_is_not_held_and_begins_anew() -> None:
    guard = FlapGuard(lambda: 0.0)
    assert guard.lost("a", FLAP_UPTIME) == 0.0
    assert guard.held() == frozenset()
    assert guard.lost("a", 0.0) == FLAP_HOLD_MIN
    assert guard.lost("a", 0.0) == 2 * FLAP_HOLD_MIN
    guard.lost("a", FLAP_UPTIME)
    assert guard.lost("a", 0.0) == FLAP_HOLD_MIN


def test_hedges_are_a_share_of_the_requests_and_a_burst() -> None:
    budget = HedgeBudget()
    assert sum(budget.take(0) for _ in range(10 * HEDGE_BURST)) == HEDGE_BURST
    granted = sum(budget.take(requests) for requests in range(1, 100_001))
    assert abs(granted - 100_000 * HEDGE_BUDGET) <= 1
    # What is not used is saved up, to the size of a burst and not beyond.
    assert sum(budget.take(10_000_000) for _ in range(10 * HEDGE_BURST)) == HEDGE_BURST


def observed(hedge_delay: HedgeDelay, replies: Durations, times: Iterable[float]) -> float:
    """The hedge delay after replies that took so long."""
    for seconds in times:
        replies.observe(seconds)
    hedge_delay.follow(total([replies]))
    return hedge_delay.seconds


@given(st.lists(st.lists(st.floats(0, 100))))
def test_the_hedge_delay_stays_within_its_bounds(looks: list[list[float]]) -> None:
    hedge_delay, replies = HedgeDelay(), Durations()
    for times in looks:
        assert HEDGE_DELAY_MIN <= observed(hedge_delay, replies, 100 * times) <= HEDGE_DELAY_MAX


def test_the_hedge_delay_follows_the_recent_replies() -> None:
    hedge_delay, replies = HedgeDelay(), Durations()
    assert hedge_delay.seconds == HEDGE_DELAY_MAX
    assert observed(hedge_delay, replies, 99 * [0.0001]) == HEDGE_DELAY_MAX, "too few to tell"
    assert observed(hedge_delay, replies, [0.0001]) == HEDGE_DELAY_MIN
    # The bucket in which 50 ms lie ends 1.41 times above its beginning.
    assert 0.035 <= observed(hedge_delay, replies, 200 * [0.05]) <= 0.071
    assert observed(hedge_delay, replies, 985 * [0.0001] + 15 * [5.0]) == HEDGE_DELAY_MAX
    assert observed(hedge_delay, replies, 995 * [0.0001] + 5 * [5.0]) == HEDGE_DELAY_MIN
