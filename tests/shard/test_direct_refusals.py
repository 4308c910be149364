"""What a shard tells a direct client of keys that it cannot read: whom to ask, or why it is no use to ask others."""

from pathlib import Path

from ringkv.cluster.position import position, shift_to, slot
from ringkv.dataset.dataset import Dataset
from tests.shard.test_node import ONE, TWO, leased, node, owned, tell
from tests.support.damage import flip_value_byte
from tests.support.published import Published, value_of
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
