"""Which version is served next: the highest that all shards which serve can serve, and none that the gate refused."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.lease import Offered
from ringkv.process.address import Address
from ringkv.router.members.membership import Candidate, Identity, Membership, choose, key_of

A, B, C, D = (Offered(serial, dataset, 256) for serial, dataset in zip(range(5, 9), "abcd", strict=True))
BACK = Offered(9, "a", 256)
"""A once more: a rollback."""

PINNED = Offered(0, "a", 256)


def shard(number: int, *versions: Offered, draining: bool = False, run: int = 0) -> Candidate:
    identity = Identity(f"shard-{number}", f"run-{number}-{run}", versions)
    return Candidate(Address("host", 100 * number + run), identity, draining)


def serving(candidates: Iterable[Candidate]) -> dict[str, str]:
    return {candidate.identity.name: candidate.identity.run_id for candidate in candidates}


def after(
    candidates: list[Candidate],
    served: Offered | None,
    serve: Iterable[Candidate] | None = None,
    refused: Iterable[Offered] = (),
) -> Membership:
    """What is chosen where these serve, or all."""
    now = serving(candidates if serve is None else serve) if served else {}
    return choose(candidates, served, now, (), {key_of(version) for version in refused})


def test_a_version_that_all_offer_is_next() -> None:
    membership = after([shard(1, B, A), shard(2, B, A)], A)
    assert membership.version == B
    assert membership.names == {"shard-1", "shard-2"}


def test_a_shard_that_lags_holds_the_next_version_up_and_nobody_is_left_out() -> None:
    membership = after([shard(1, B, A), shard(2, A)], A)
    assert (membership.version, membership.newest) == (A, B)
    assert membership.names == membership.leasable.names == {"shard-1", "shard-2"}
    assert membership.kept_out == {}


def test_of_several_versions_the_highest_that_all_offer_is_next() -> None:
    assert after([shard(1, C, B), shard(2, C, B, A)], A).version == C
    assert after([shard(1, C, B), shard(2, B, A)], A).version == B


def test_the_first_version_is_the_highest_that_most_offer() -> None:
    assert after([shard(1, B, A), shard(2, B, A)], None).version == B
    membership = after([shard(1, B, A), shard(2, A), shard(3, B, A)], None)
    assert (membership.version, membership.newest) == (A, B)
    assert after([shard(1, D, C), shard(2, A), shard(3, D, C)], None).names == {"shard-1", "shard-3"}


def test_a_rollback_is_a_higher_serial_of_an_older_dataset() -> None:
    assert after([shard(1, BACK, B), shard(2, BACK, B)], B).version == BACK
    assert after([shard(1, BACK, B), shard(2, B, A)], B).version == B


def test_the_dataset_that_is_served_may_become_another_version() -> None:
    assert after([shard(1, BACK, B), shard(2, BACK, B)], A).version == BACK
    assert after([shard(1, BACK, B), shard(2, B, A)], A).version == B, "what is next is told by its serial"


def test_a_catalog_that_begins_anew_is_followed() -> None:
    old = Offered(2, "c", 256)
    assert after([shard(1, old), shard(2, old)], B).version == old
    assert after([shard(1, old), shard(2, B, A)], B).version == B
    same = Offered(1, "b", 256)
    assert after([shard(1, same), shard(2, same)], B).version == same
    assert after([shard(1, old, same), shard(2, old, same)], B).version == old


def test_what_the_gate_has_refused_is_not_next() -> None:
    both = [shard(1, B, A), shard(2, B, A)]
    assert after(both, A, refused=[B]).version == A
    assert after([shard(1, C, B), shard(2, C, B)], A, refused=[B]).version == C
    assert after([shard(1, C, B), shard(2, C, B)], B, refused=[C]).version == B
    assert after([shard(1, C, B), shard(2, C, B)], A, refused=[C]).version == B


def test_those_that_serve_go_on_though_they_offer_newer_versions_only() -> None:
    ahead, behind = shard(1, D, C), shard(2, B, A)
    membership = after([ahead, behind], A)
    assert membership.version == A
    assert membership.names == {"shard-1", "shard-2"}
    assert membership.leasable.names == {"shard-2"}
    assert membership.kept_out == {}


def test_a_shard_that_comes_with_newer_versions_only_waits_for_them() -> None:
    served = [shard(1, B, A), shard(2, A)]
    new = shard(3, D, C)
    membership = after([*served, new], A, served)
    assert membership.names == {"shard-1", "shard-2"}
    assert membership.kept_out == {new.address: "it serves dataset d and c, this cluster a"}
    caught_up = [shard(1, D, C), shard(2, C, B)]
    assert after([*caught_up, new], A, caught_up).names == {"shard-1", "shard-2", "shard-3"}


def test_a_shard_that_comes_late_does_not_hold_the_next_version_up() -> None:
    served = [shard(1, B, A), shard(2, B, A)]
    late = shard(3, A)
    membership = after([*served, late], A, served)
    assert membership.version == B
    assert membership.names == {"shard-1", "shard-2"}
    assert membership.kept_out == {late.address: "it serves dataset a, this cluster b"}


def test_a_shard_that_leaves_does_not_hold_the_next_version_up() -> None:
    assert after([shard(1, B, A), shard(2, A, draining=True)], A).version == B


def test_shards_that_were_all_restarted_first_serve_what_was_served() -> None:
    """Only then can the gate compare the next version with something."""
    again = [shard(1, B, A, run=1), shard(2, B, A, run=1)]
    assert choose(again, A, {}).version == A
    assert after(again, A).version == B
    assert choose([shard(1, D, C, run=1)], A, {}).version == D, "there is nothing else"


def test_shards_of_another_catalog_are_kept_out() -> None:
    served = [shard(1, B, A), shard(2, B, A)]
    other = shard(3, Offered(6, "x", 256), Offered(5, "y", 256))
    membership = after([*served, other], A, served)
    assert membership.version == B
    assert membership.names == {"shard-1", "shard-2"}
    assert membership.kept_out == {other.address: "it serves dataset x and y, this cluster b"}


def test_a_pinned_shard_holds_the_next_version_up() -> None:
    membership = after([shard(1, B, A), shard(2, PINNED)], A)
    assert membership.version == A
    assert membership.names == {"shard-1", "shard-2"}
    assert after([shard(1, B, A), shard(2, PINNED)], PINNED).version == PINNED
    assert after([shard(1, B, A)], PINNED).version == B


VERSIONS = [Offered(serial, dataset, 256) for serial in range(1, 7) for dataset in "abc"]
CANDIDATES = st.lists(
    st.builds(
        lambda number, versions, draining, run: shard(number, *versions, draining=draining, run=run),
        st.integers(1, 5),
        st.lists(st.sampled_from(VERSIONS), max_size=3, unique_by=lambda version: version.dataset_id).map(
            lambda found: sorted(found, key=key_of, reverse=True)
        ),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=7,
    unique_by=lambda candidate: candidate.address,
)


@given(CANDIDATES, st.none() | st.sampled_from(VERSIONS), st.sets(st.sampled_from(VERSIONS)), st.randoms(), st.data())
def test_whatever_is_offered_the_choice_can_be_served_and_depends_on_no_order(
    candidates: list[Candidate], served: Offered | None, refused: set[Offered], rng: object, data: st.DataObject
) -> None:
    serve = serving(c for c in candidates if served and data.draw(st.booleans()))
    keys = {key_of(version) for version in refused}
    membership = choose(candidates, served, serve, (), keys)
    shuffled = list(candidates)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert membership == choose(shuffled, served, serve, (), keys)
    version = membership.version
    assert not {taking.address for taking in membership.shards.values()} & membership.kept_out.keys()
    for name, taking in membership.shards.items():
        assert name == taking.identity.name
        assert version is not None
        goes_on = served is not None and version.dataset_id == served.dataset_id and serve.get(name)
        assert taking.identity.offers(version.dataset_id) or goes_on == taking.identity.run_id
    if version is not None and (served is None or version.dataset_id != served.dataset_id):
        assert key_of(version) not in keys
        assert membership.shards, "nothing takes over that nobody offers"
        voters = [c for c in candidates if serve.get(c.identity.name) == c.identity.run_id and not c.draining]
        assert all(key_of(version) in map(key_of, voter.identity.versions) for voter in voters)
        assert membership.leasable == membership


@pytest.mark.parametrize(
    ("then", "stands"),
    [
        (shard(1, B, A), True),
        (shard(1, C, B), True),
        (shard(1, C), False),
        (shard(1, B, A, draining=True), False),
        (Candidate(Address("host", 100), Identity("shard-1", "another run", (B, A))), False),
        (shard(2, B, A), False),
    ],
)
def test_a_choice_stands_as_long_as_all_its_shards_can_lease_it(then: Candidate, *, stands: bool) -> None:
    membership = after([shard(1, B, A)], A)
    assert membership.stands([then, shard(7, A)]) == stands
