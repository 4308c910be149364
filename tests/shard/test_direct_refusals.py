"""What a shard tells a direct client of keys that it cannot read: whom to ask, or why it is no use to ask others."""

from pathlib import Path

from ringkv.cluster.nodes import NodeTable, key_slot
from ringkv.cluster.position import position, shift_to, slot
from ringkv.cluster.ring import build_ring
from ringkv.dataset.dataset import Dataset
from tests.shard.test_node import ONE, THREE, TWO, leased, node, owned, tell
from tests.support.damage import flip_value_byte
from tests.support.published import KEYS, Published, value_of
from tests.support.redis_port import told


async def test_who_asks_for_a_key_beside_what_is_none_is_sent_to_the_owner_of_their_slot(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        await tell(served, await leased(served, dataset, ONE, TWO), dataset, 1, ONE, TWO)
        client = await served.connect()
        key, other = owned("one", ONE, TWO)[0], owned("two", ONE, TWO)[0]
        assert await client("MGET", b"{%b} is no key" % key, key) == [None, value_of(1, key)]
        for name in ("MGET", "EXISTS", "TOUCH"):
            for keys in ((b"{%b} is no key" % other, other), (other, b"{%b} is no key" % other)):
                assert told(await client(name, *keys)) == f"MOVED {slot(other)} 10.0.0.2:7001"


async def test_who_asks_for_a_key_in_a_damaged_block_is_told_so(published: Published) -> None:
    key = owned("one", ONE, TWO)[0]

    def damage(path: Path) -> None:
        with Dataset.open(path) as dataset:
            block = position(key) >> shift_to(dataset.manifest.blocks)
        flip_value_byte(path, block)

    published.publish(2, damage)
    async with node(published) as served:
        dataset = published.datasets[2]
        await tell(served, await leased(served, dataset, ONE, TWO), dataset, 1, ONE, TWO)
        client = await served.connect()
        for request in (("GET", key), ("MGET", key, key), ("EXISTS", key), ("GETRANGE", key, 0, -1)):
            assert told(await client(*request)).startswith("CORRUPT ")


async def test_a_key_in_upper_case_is_asked_for_elsewhere_by_every_owner_of_its_slot_by_the_map(
    published: Published,
) -> None:
    """A client may read from any of them, as from a replica."""
    nodes = {each.name: each for each in (ONE, TWO, THREE)}
    ring = build_ring(nodes, 2, 256)
    async with node(published) as served:
        dataset = published.datasets[1]
        router, client = await served.connect(), await served.connect()
        assert (await router("LEASE", dataset, ring.ring_id, 2, *sorted(nodes))).startswith(b"OK ")
        table = NodeTable(1, dataset, 256, 2, tuple(sorted(nodes.values())))
        assert await router(*table.command()) == b"OK 1"
        assert served.state.cluster is not None
        await served.state.cluster.settled()
        said = set()
        for key in KEYS:
            hashed = key_slot(key.upper())
            lies, asked = ring.owners[slot(key) >> 6], ring.owners[hashed >> 6]
            if "one" in lies:
                continue
            word, owner = ("ASK", nodes[lies[0]]) if "one" in asked else ("MOVED", nodes[asked[0]])
            assert told(await client("GET", key.upper())) == f"{word} {hashed} {owner.host}:{owner.port}"
            said.add((word, asked.index("one") if "one" in asked else None))
        assert said == {("ASK", 0), ("ASK", 1), ("MOVED", None)}
