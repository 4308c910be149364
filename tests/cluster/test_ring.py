"""The placement: the same everywhere, even, and changed by no more than a change of the cluster calls for."""

import math
import random
from bisect import bisect_right
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uhashring import HashRing
from xxhash import xxh3_64_intdigest

import ringkv.cluster.placing
import ringkv.cluster.ring
from ringkv.cluster.limits import LOAD_BOUND, VIRTUAL_NODES
from ringkv.cluster.placing import points
from ringkv.cluster.position import shift_to
from ringkv.cluster.ring import Ring, build_ring, moved_partitions, ring_id
from ringkv.cluster.shares import shares

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=6, unique=True)
PARTITIONS = st.sampled_from([1, 2, 16, 256, 1024])
REPLICAS = st.integers(1, 4)


def loads(ring: Ring) -> Counter[str]:
    return Counter(name for owners in ring.owners for name in owners)


def shards(count: int) -> list[str]:
    return [f"shard-{number}" for number in range(1, count + 1)]


@given(names=NAMES, replicas=REPLICAS, partitions=PARTITIONS, seed=st.integers())
@settings(max_examples=40, deadline=None)
def test_a_placement_does_not_depend_on_the_order_of_names(
    names: list[str], replicas: int, partitions: int, seed: int
) -> None:
    ring = build_ring(names, replicas, partitions)
    shuffled = random.Random(seed).sample(names, len(names))
    again = build_ring([*shuffled, *names], replicas, partitions)
    assert ring == again
    assert ring.owners == again.owners
    assert ring.ring_id == ring_id(shuffled, replicas, partitions)


@given(names=NAMES, replicas=REPLICAS, partitions=PARTITIONS)
@settings(max_examples=40, deadline=None)
def test_every_partition_has_as_many_distinct_owners_as_can_be(
    names: list[str], replicas: int, partitions: int
) -> None:
    ring = build_ring(names, replicas, partitions)
    copies = min(replicas, len(names))
    assert len(ring.owners) == partitions
    assert {len(owners) for owners in ring.owners} == {copies}
    assert {len(set(owners)) for owners in ring.owners} == {copies}
    assert set(loads(ring)) <= set(names)
    for name in names:
        assert ring.owned_by(name) == [p for p in range(partitions) if name in ring.owners[p]]


@given(names=NAMES, partitions=PARTITIONS)
@settings(max_examples=40, deadline=None)
def test_no_shard_owns_more_than_the_bound(names: list[str], partitions: int) -> None:
    ring = build_ring(names, 1, partitions)
    assert max(loads(ring).values()) <= math.ceil(LOAD_BOUND * partitions / len(names))


@given(names=NAMES, replicas=st.integers(2, 4), partitions=st.sampled_from([256, 1024]))
@settings(max_examples=40, deadline=None)
def test_with_replicas_the_bound_is_passed_only_where_it_must_be(
    names: list[str], replicas: int, partitions: int
) -> None:
    """The last partitions may find too few shards with room: then those with the least load take one more."""
    copies = min(replicas, len(names))
    bound = math.ceil(LOAD_BOUND * partitions * copies / len(names))
    held: Counter[str] = Counter()
    for owners in build_ring(names, replicas, partitions).owners:
        over = [name for name in owners if held[name] >= bound]
        room = [name for name in names if held[name] < bound]
        assert not over or set(room) <= set(owners)
        held.update(owners)


@given(names=NAMES, replicas=REPLICAS)
@settings(max_examples=20, deadline=None)
def test_owners_are_those_that_uhashring_finds(names: list[str], replicas: int) -> None:
    """Where no shard is passed over, that is: here the bound is out of reach."""
    partitions = 64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ringkv.cluster.placing, "LOAD_BOUND", 1000.0)
        ring = build_ring(names, replicas, partitions)
    shift = shift_to(partitions)

    def stands(key: str) -> int:
        return int(key) if key in positions else xxh3_64_intdigest(key.encode())

    positions = {str(p << shift) for p in range(partitions)} - set(names)
    theirs = HashRing(nodes=sorted(names), vnodes=VIRTUAL_NODES, hash_fn=stands)
    assert theirs.get_points() == points(names).get_points()
    for p in range(partitions):
        if str(p << shift) in positions:
            found = [node["nodename"] for node in theirs.range(str(p << shift), replicas)]
            assert list(ring.owners[p]) == found


def test_owners_are_those_that_uhashring_finds_until_the_bound_is_reached() -> None:
    names, partitions, replicas = shards(5), 1024, 2
    bound = math.ceil(LOAD_BOUND * partitions * replicas / len(names))
    shift = shift_to(partitions)
    theirs = HashRing(
        nodes=names,
        vnodes=VIRTUAL_NODES,
        hash_fn=lambda key: int(key) if key.isdigit() else xxh3_64_intdigest(key.encode()),
    )
    held: Counter[str] = Counter()
    compared = 0
    for p, owners in enumerate(build_ring(names, replicas, partitions).owners):
        if all(held[name] < bound for name in names):
            compared += 1
            assert list(owners) == [node["nodename"] for node in theirs.range(str(p << shift), replicas)]
        held.update(owners)
    assert compared > partitions // 2


@given(names=NAMES, replicas=REPLICAS, partitions=st.sampled_from([1, 2, 16, 256]))
@settings(max_examples=30, deadline=None)
def test_owners_are_those_that_a_plain_walk_finds(names: list[str], replicas: int, partitions: int) -> None:
    """Also where shards are full, and where the last partitions find too few that are not."""
    copies = min(replicas, len(names))
    bounds = {
        name: math.ceil(LOAD_BOUND * share) for name, share in shares(tuple(names), {}, copies, partitions).items()
    }
    held = dict.fromkeys(names, 0)
    around = points(names).get_points()
    for p, owners in enumerate(build_ring(names, replicas, partitions).owners):
        start = bisect_right(around, (p << shift_to(partitions), "\U0010ffff"))
        met = list(dict.fromkeys(name for _, name in around[start:] + around[:start]))
        free = [name for name in met if held[name] < bounds[name]][:copies]
        rest = sorted((held[name] / bounds[name], name) for name in names if name not in free)
        assert list(owners) == free + [name for _, name in rest[: copies - len(free)]]
        for name in owners:
            held[name] += 1


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("count", range(2, 9))
def test_a_shard_more_or_less_moves_little_more_than_it_must(count: int, replicas: int) -> None:
    few, many = build_ring(shards(count), replicas, 4096), build_ring(shards(count + 1), replicas, 4096)
    for before, after in ((few, many), (many, few)):
        moved, least = moved_partitions(before, after)
        assert 0 < least <= moved <= 1.15 * least


def test_a_shard_of_the_same_name_moves_nothing() -> None:
    ring = build_ring(shards(4), 2, 1024)
    assert moved_partitions(ring, build_ring(reversed(shards(4)), 2, 1024)) == (0, 0)


def test_what_moves_is_counted_in_copies() -> None:
    alone, pair = build_ring(["a"], 1, 256), build_ring(["b"], 1, 256)
    assert moved_partitions(alone, pair) == (256, 256)
    assert moved_partitions(build_ring(["a", "b"], 2, 256), alone) == (0, 0)
    assert moved_partitions(alone, build_ring(["a", "b"], 2, 256)) == (256, 256)


@given(names=NAMES, replicas=REPLICAS, partitions=PARTITIONS)
def test_the_ring_id_changes_with_every_input(names: list[str], replicas: int, partitions: int) -> None:
    ids = {
        ring_id(names, replicas, partitions),
        ring_id(names, replicas + 1, partitions),
        ring_id(names, replicas, 2 * partitions),
        ring_id([*names, "".join(names) + "x"], replicas, partitions),
        ring_id([*names[1:], names[0] + "'"], replicas, partitions) if names[0] + "'" not in names else "",
        ring_id(names[1:], replicas, partitions),
    }
    assert len(ids) == 6


@pytest.mark.parametrize("policy", ["LOAD_BOUND", "VIRTUAL_NODES"])
def test_the_ring_id_changes_with_the_rules(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ring_id(["a", "b"], 1, 256)
    monkeypatch.setattr(ringkv.cluster.ring, policy, 7)
    assert ring_id(["a", "b"], 1, 256) != before


@pytest.mark.parametrize(("names", "replicas"), [([], 1), (["a"], 0), (["a"], -1)])
def test_a_ring_of_nothing_is_refused(names: list[str], replicas: int) -> None:
    with pytest.raises(ValueError, match="at least one shard and one replica"):
        build_ring(names, replicas, 256)
