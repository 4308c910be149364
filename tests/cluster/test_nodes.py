"""What routers tell shards of each other is read as it was written, and leads all shards to the same in any order."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.limits import MAX_SHARDS
from ringkv.cluster.nodes import MAX_EPOCH, Node, NodeTable, SlotMap, hear, key_slot
from ringkv.cluster.place import Place
from ringkv.cluster.position import SLOTS
from ringkv.cluster.ring import build_ring

DATASET = "5a382ebf2779e923783494de081b6768"
NODES = (Node("a", "10.0.0.1", 7000), Node("b"), Node("c", "2001:db8::1", 65535))
TABLE = NodeTable(7, DATASET, 256, 2, NODES)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
hosts = st.from_regex(r"[A-Za-z0-9_:][A-Za-z0-9._:-]{0,20}", fullmatch=True)
places = st.builds(
    Place, st.just("") | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), st.sampled_from([1.0, 2.5])
)
nodes = st.one_of(
    st.builds(Node, names, place=places), st.builds(Node, names, hosts, st.integers(1, 65535), place=places)
)
tables = st.builds(
    NodeTable,
    st.integers(1, MAX_EPOCH),
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.integers(0, 14).map(lambda bits: 1 << bits),
    st.integers(1, 64),
    st.lists(nodes, min_size=1, max_size=6, unique_by=lambda node: node.name).map(sorted).map(tuple),
    st.sampled_from([(), ((0, 3),)]),
)
few = st.builds(
    NodeTable,
    st.integers(1, 3),
    st.just(DATASET),
    st.just(256),
    st.just(1),
    st.sampled_from([NODES[:1], NODES[:2], NODES]),
)


def written(table: NodeTable) -> list[bytes]:
    return [str(part).encode() for part in table.command()[1:]]


@given(tables)
def test_a_table_reads_as_it_was_written(table: NodeTable) -> None:
    assert NodeTable.parse(written(table)) == table


@pytest.mark.parametrize(
    ("at", "text", "reason"),
    [
        (0, b"0", "an epoch must be a number from 1"),
        (0, b"%d" % (MAX_EPOCH + 1), "an epoch must be a number from 1"),
        (0, b"1x", "an epoch must be a number"),
        (1, b"x", "not a dataset's id"),
        (2, b"3", "partitions are a power of two, not 3"),
        (2, b"32768", "partitions must be a number from 1 to 16384"),
        (3, b"0", "replicas must be a number from 1 to 64"),
        (4, b"<b>", "not a shard's name"),
        (4, b"x@<b>", "not a zone"),
        (4, b"x*0", "a weight is a number from"),
        (4, b"b", "a name stands twice"),
        (5, b"a\r\n", "not a host"),
        (6, b"0", "a port must be a number from 1"),
        (6, b"70000", "a port must be a number from 1 to 65535"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_reason(at: int, text: bytes, reason: str) -> None:
    args = written(TABLE)
    args[at] = text
    with pytest.raises(ValueError, match=reason):
        NodeTable.parse(args)


def test_a_table_of_a_partition_that_there_is_not_is_refused() -> None:
    assert NodeTable.parse([*written(replace(TABLE, extra=())), b"+255=1"]).extra == ((255, 1),)
    with pytest.raises(ValueError, match="partition 256 is none of 256"):
        NodeTable.parse([*written(replace(TABLE, extra=())), b"+255=1,256=1"])


def test_a_table_of_more_nodes_than_a_ring_may_have_is_refused() -> None:
    nodes = tuple(Node(f"{number:04d}") for number in range(MAX_SHARDS + 1))
    assert len(NodeTable.parse(written(replace(TABLE, nodes=nodes[1:]))).nodes) == MAX_SHARDS
    with pytest.raises(ValueError, match="a ring of 1025 shards: at most 1024 can share a dataset"):
        NodeTable.parse(written(replace(TABLE, nodes=nodes)))


def test_a_table_of_no_node_or_of_half_of_one_is_refused() -> None:
    for args in (written(TABLE)[:4], written(TABLE)[:-1], []):
        with pytest.raises(ValueError, match="want TOPOLOGY"):
            NodeTable.parse(args)


@given(st.lists(few, min_size=1, max_size=8).flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))))
def test_shards_that_are_told_the_same_in_any_order_agree(told: tuple[list[NodeTable], list[NodeTable]]) -> None:
    def hearing(before: NodeTable | None, table: NodeTable) -> NodeTable | None:
        return hear(before, table) or before

    one, other = (reduce(hearing, order, None) for order in told)
    assert one == other
    assert one is not None
    assert one.epoch == max(table.epoch for table in told[0])


def test_the_higher_epoch_wins_and_the_same_is_no_news() -> None:
    other = replace(TABLE, nodes=NODES[:2])
    assert hear(None, TABLE) == TABLE
    assert hear(TABLE, replace(other, epoch=6)) is None
    assert hear(TABLE, replace(other, epoch=8)) == replace(other, epoch=8)
    assert hear(TABLE, replace(TABLE, epoch=6)) == TABLE
    assert hear(TABLE, replace(TABLE, epoch=9)) == replace(TABLE, epoch=9)
    refused = [hear(TABLE, replace(other, epoch=7)), hear(replace(other, epoch=7), TABLE)]
    assert refused.count(None) == 1


def test_slots_are_those_of_redis() -> None:
    assert key_slot(b"123456789") == 12739
    assert key_slot(b"{user1000}.following") == key_slot(b"user1000") == key_slot(b"x{user1000}{y}")
    assert key_slot(b"foo{{bar}}zap") == key_slot(b"{bar")
    assert key_slot(b"foo{}{bar}") != key_slot(b"bar")
    assert key_slot(b"foo{bar") != key_slot(b"bar")


@pytest.mark.parametrize("partitions", [256, 4096, 16384])
def test_every_slot_has_the_owners_of_its_partition_as_far_as_they_have_addresses(partitions: int) -> None:
    found = SlotMap(replace(TABLE, partitions=partitions))
    ring = build_ring(("a", "b", "c"), 2, partitions)
    covered: list[int] = []
    for first, last, owners in found.runs:
        covered += range(first, last + 1)
        assert found.owners(first) == found.owners(last) == owners
        assert [owner.name for owner in owners] == [
            name for name in ring.owners[first * partitions // SLOTS] if name != "b"
        ]
    assert covered == list(range(SLOTS))
    alone = SlotMap(replace(TABLE, partitions=partitions, replicas=1))
    assert alone.owners(0) == () or alone.owners(0)[0].host
    unowned = sum(not alone.owners(slot) for slot in range(SLOTS))
    assert SLOTS - unowned == sum(last - first + 1 for first, last, _ in alone.runs)
    assert 0.3 < unowned / SLOTS < 0.36


def test_a_node_keeps_its_id_wherever_it_is() -> None:
    assert Node("shard-1").node_id == Node("shard-1", "10.0.0.1", 7000).node_id
    assert len(Node("shard-1").node_id) == 40
    assert int(Node("shard-1").node_id, 16) != int(Node("shard-2").node_id, 16)
