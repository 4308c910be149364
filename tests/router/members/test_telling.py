"""Shards are told what the router has gone over to: before they have heard the first of it, a router is not ready."""

from ringkv.cluster.nodes import STALE, Node
from ringkv.router.members.telling import Teller
from tests.support.fake_shard import Start, silence, topology_of
from tests.support.processes import eventually


async def test_a_router_begins_until_all_shards_have_heard_the_first_topology(start: Start) -> None:
    shards = await start(x=silence, y=silence)
    topology = await topology_of(shards, 1)
    runs = {link: name for name, link in topology.links.items()}
    teller = Teller()

    def begins() -> bool:
        return teller.begins

    assert not begins()
    teller.tell(topology, [Node(shard.name, "10.0.0.1", 7000) for shard in shards], runs)
    for shard in shards:
        await shard.arrived(1)
        assert begins()
        shard.write(b"+OK 1\r\n")
    await eventually(lambda: not begins())
    teller.tell(topology, [Node(shard.name, "10.0.0.2", 7000) for shard in shards], runs)
    assert not begins()
    for shard in shards:
        await shard.arrived(2)
        shard.write(b"+OK 2\r\n")


async def test_a_topology_that_was_replaced_is_not_told_again_where_another_router_was_faster(start: Start) -> None:
    (shard,) = await start(x=silence)
    topology = await topology_of([shard], 1)
    (link,) = topology.links.values()
    teller = Teller()
    for count, port in enumerate((7001, 7002), 1):
        teller.tell(topology, [Node("x", "10.0.0.1", port)], {})
        await shard.arrived(count)
    shard.write(b"-%b 5\r\n+OK 2\r\n" % STALE.encode())
    await eventually(lambda: not link.in_flight)
    teller.tell(topology, [Node("x", "10.0.0.1", 7003)], {})
    await shard.arrived(3)
    assert shard.asked == [b"7001", b"7002", b"7003"]  # the port is what is said last


async def test_nobody_waits_for_shards_that_are_no_nodes(start: Start) -> None:
    shards = await start(x=silence)
    teller = Teller()
    teller.tell(await topology_of(shards, 1), [Node("x", "", 0)], {})
    assert not teller.begins
