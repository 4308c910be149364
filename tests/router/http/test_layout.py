"""The layout of the ring is the ring: every arc, what moved, and as many virtual nodes as a picture can show."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

import ringkv.router.http.layout
from ringkv.cluster.lease import Leased
from ringkv.cluster.placing import points
from ringkv.cluster.ring import Ring, build_ring
from ringkv.router.http.layout import fraction, layout
from ringkv.router.lookup.topology import Topology
from ringkv.router.policy import LAYOUT_POINTS
from tests.support.fake_shard import Start, topology_of
from tests.support.router import Serve


def topology(ring: Ring, before: Ring | None = None) -> Topology:
    """One without links, which a layout does not need."""
    leased = dict.fromkeys(ring.names, Leased(1, 100))
    return Topology(3, "dataset-3", ring, {}, leased, (), 0, {}, before)


def names(count: int) -> list[str]:
    return [f"shard-{n}" for n in range(1, count + 1)]


def owners(found: dict[str, Any], band: int) -> list[str]:
    """The owner of every partition in one band, as a reader of the layout makes it out."""
    runs = found["bands"][band]
    ends = [first for first, _ in runs[1:]] + [found["partitions"]]
    names: list[str] = []
    for (first, shard), end in zip(runs, ends, strict=True):
        assert first == len(names)
        names += [found["shards"][shard]] * (end - first)
    return names


@pytest.mark.parametrize(("shards", "replicas", "partitions"), [(1, 1, 256), (3, 1, 256), (5, 2, 1024), (32, 3, 8192)])
def test_a_band_a_replica_holds_the_runs_of_equal_owners(shards: int, replicas: int, partitions: int) -> None:
    ring = build_ring(names(shards), replicas, partitions)
    found = layout(topology(ring))
    assert len(found["bands"]) == replicas
    for band, runs in enumerate(found["bands"]):
        assert owners(found, band) == [names[band] for names in ring.owners]
        assert all(one[1] != next_[1] for one, next_ in pairwise(runs))
    assert {name: found[name] for name in ("epoch", "dataset", "ring", "partitions")} == {
        "epoch": 3,
        "dataset": "dataset-3",
        "ring": ring.ring_id,
        "partitions": partitions,
    }
    assert found["moved"] == []


def test_extra_owners_of_hot_partitions_are_beside_the_bands() -> None:
    plain, ring = build_ring(names(5), 2, 256), build_ring(names(5), 2, 256, extra=((17, 2), (200, 1)))
    found = layout(topology(ring, plain))
    assert found["bands"] == layout(topology(plain))["bands"]
    assert [(partition, found["shards"][shard]) for partition, shard in found["extra"]] == [
        *((17, name) for name in ring.owners[17][2:]),
        (200, ring.owners[200][2]),
    ]
    assert found["moved"] == [[], []]


@pytest.mark.parametrize("shards", [1, 8, 9, 32])
def test_the_points_are_virtual_nodes_and_never_more_than_can_be_shown(shards: int) -> None:
    found = layout(topology(build_ring(names(shards), 1, 256)))
    nodes = points(names(shards)).get_points()
    assert found["virtual_nodes"] == len(nodes)
    assert (
        len(found["points"]) == len(nodes) if shards <= 8 else LAYOUT_POINTS / 2 < len(found["points"]) <= LAYOUT_POINTS
    )
    assert found["points"] == sorted(found["points"], key=lambda point: point[0])
    all_of_them = {(fraction(position), name) for position, name in nodes}
    assert {(at, found["shards"][shard]) for at, shard in found["points"]} <= all_of_them
    assert {shard for _, shard in found["points"]} == set(range(shards))


def test_a_fraction_is_within_the_ring_and_short() -> None:
    assert fraction(0) == 0.0
    assert fraction(1 << 63) == 0.5
    assert fraction((1 << 64) - 1) == 1.0
    assert len(str(fraction(0x123456789ABCDEF0))) <= 8


@pytest.mark.parametrize(("before", "after"), [(3, 4), (4, 3), (1, 5), (3, 3)])
def test_moved_is_what_a_shard_owns_and_did_not_own_before(before: int, after: int) -> None:
    was, is_ = build_ring(names(before), 2, 1024), build_ring(names(after), 2, 1024)
    found = layout(topology(is_, was))
    assert len(found["moved"]) == len(is_.owners[0])
    for band, runs in enumerate(found["moved"]):
        moved = [partition for first, count in runs for partition in range(first, first + count)]
        assert moved == [p for p in range(1024) if is_.owners[p][band] not in was.owners[p]]
        assert all(first + count < other for (first, count), (other, _) in pairwise(runs))


def test_the_largest_layout_is_not_large() -> None:
    ring = build_ring(names(32), 1, 65_536)
    assert len(json.dumps(layout(topology(ring, build_ring(names(31), 1, 65_536))))) < 600_000


async def test_a_layout_is_computed_once_for_a_topology(
    serve: Serve, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    router_ = await serve()
    computed: list[int] = []

    def counting(topology: Topology) -> dict[str, Any]:
        computed.append(topology.epoch)
        return layout(topology)

    monkeypatch.setattr(ringkv.router.http.layout, "layout", counting)
    answers = await asyncio.gather(*(router_("/ring/layout") for _ in range(8)))
    assert {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].headers["Content-Type"] == "application/json"
    assert answers[0].json["shards"] == ["a"]
    assert computed == [1]
    router_.lookups.swap(await topology_of(await start(b=lambda *_: None, c=lambda *_: None), 1, epoch=2))
    assert (await router_("/ring/layout")).json["shards"] == ["b", "c"]
    assert computed == [1, 2]


async def test_a_reader_that_leaves_takes_the_layout_from_nobody(serve: Serve) -> None:
    router_ = await serve()
    leaving = asyncio.create_task(router_("/ring/layout"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await router_("/ring/layout")).status == 200


async def test_without_a_ring_the_layout_is_503_in_one_line(serve: Serve) -> None:
    router_ = await serve()
    router_.lookups.topology = None
    answer = await router_("/ring/layout")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.body == b"there is no ring yet: no shard could be reached\n"
