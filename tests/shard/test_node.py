"""A shard that announces an address is a node of a Redis Cluster: what it does not own, it tells who does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ringkv.cluster.nodes import Node, NodeTable, key_slot
from ringkv.cluster.position import SLOTS, slot
from ringkv.cluster.ring import build_ring, ring_id
from ringkv.process.address import Address
from ringkv.shard.settings import Direct, Followed
from tests.support.processes import eventually
from tests.support.published import KEYS, Published, value_of
from tests.support.redis_port import told
from tests.support.served import Asker, Served, serving

DIRECT = Direct(Address("10.0.0.1", 7000))
ONE, TWO, THREE = Node("one", "10.0.0.1", 7000), Node("two", "10.0.0.2", 7001), Node("three", "10.0.0.3", 7002)
MISSING = b"00000000-0000-4000-8000-000000000000"


@asynccontextmanager
async def node(published: Published, direct: Direct = DIRECT, secret: str | None = None) -> AsyncIterator[Served]:
    source = Followed(published.path)
    async with serving(source, leased=True, secret=secret, direct=direct) as served:
        yield served


async def leased(served: Served, dataset: str, *nodes: Node, secret: str = "") -> Asker:
    """A router's connection that holds a lease."""
    router = await served.connect()
    if secret:
        assert await router("AUTH", secret) == b"OK"
    names = tuple(sorted(each.name for each in nodes))
    reply = await router("LEASE", dataset, ring_id(names, 1, 256), 1, *names)
    assert reply.startswith(b"OK "), reply
    return router


async def tell(served: Served, router: Asker, dataset: str, epoch: int, *nodes: Node) -> Any:
    """Tell it a topology, and wait until that is in force, if it was accepted."""
    reply = await router(*NodeTable(epoch, dataset, 256, 1, nodes).command())
    assert served.state.cluster is not None
    await served.state.cluster.settled()
    return reply


async def client_of(served: Served, *request: str) -> Any:
    """The reply to a client of its own."""
    return await (await served.connect())(*request)


def owned(name: str, *nodes: Node) -> list[bytes]:
    ring = build_ring([each.name for each in nodes], 1, 256)
    return [key for key in KEYS if ring.owners[slot(key) >> 6] == (name,)]


async def test_a_node_answers_what_it_owns_and_sends_clients_to_the_owner_of_the_rest(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        client = await served.connect()
        key, other = owned("one", ONE, TWO)[0], owned("two", ONE, TWO)[0]
        assert told(await client("GET", key)).startswith("CLUSTERDOWN no router has told")
        router = await leased(served, dataset, ONE, TWO)
        assert await tell(served, router, dataset, 1, ONE, TWO) == b"OK 1"
        assert await client("GET", key) == value_of(1, key)
        assert await client("GET", key.upper()) == value_of(1, key)
        assert await client("MGET", key, key) == [value_of(1, key)] * 2
        assert await client("STRLEN", key) == len(value_of(1, key))
        assert told(await client("GET", other)) == f"MOVED {slot(other)} 10.0.0.2:7001"
        assert told(await client("MGET", other, other)).startswith("MOVED ")
        assert told(await client("STRLEN", other)).startswith("MOVED ")
        assert told(await client("MGET", key, other)).startswith("CROSSSLOT ")
        assert told(await client("EXISTS", key, other)).startswith("CROSSSLOT ")
        assert told(await client("SET", key, "x")).startswith("NOPERM the dataset is immutable")
        assert await client("GET", "no key at all") is None
        assert told(await router("GET", other)).startswith("NOTLEASED "), "a router asks by its own topology"
        info = {
            line.split(":")[0]: line.split(":")[1] for line in (await client("INFO")).decode().split() if ":" in line
        }
        assert (info["announce"], info["redis_mode"], info["cluster_enabled"]) == ("10.0.0.1", "cluster", "1")
        assert int(info["redirects"]) == 3
        assert int(info["direct_requests"]) > 11


async def test_a_transaction_is_sent_to_the_owner_as_a_whole(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        client = await served.connect()
        key, other = owned("one", ONE, TWO)[0], owned("two", ONE, TWO)[0]

        async def executed(*keys: bytes) -> Any:
            client.send(("MULTI",), *(("GET", key) for key in keys), ("EXEC",))
            return [await client.read() for _ in range(len(keys) + 2)][-1]

        assert told(await executed(key)).startswith("CLUSTERDOWN no router has told")
        await tell(served, await leased(served, dataset, ONE, TWO), dataset, 1, ONE, TWO)
        absent = b"{%b} is no key" % key
        assert await executed(key, absent, key) == [value_of(1, key), None, value_of(1, key)]
        assert told(await executed(other)) == f"MOVED {slot(other)} 10.0.0.2:7001"
        # Sent to the owner of one of its keys, a client would be sent back for another, and so on.
        mine = next(each for each in owned("one", ONE, TWO) if slot(each) != slot(key))
        for keys in ([key, other], [other, key, other], [key, mine]):
            assert told(await executed(*keys)) == "CROSSSLOT Keys in request don't hash to the same slot"


async def test_who_asks_while_a_shard_learns_who_owns_what_waits_for_it(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        router, client = await leased(served, dataset, ONE, TWO), await served.connect()
        cluster, building = served.state.cluster, served.state.building
        assert cluster is not None
        other = owned("two", ONE, TWO)[0]
        async with building:
            assert await router(*NodeTable(1, dataset, 256, 1, (ONE, TWO)).command()) == b"OK 1"
            client.send(("GET", other), ("GET", "no key at all"))
            reading = asyncio.create_task(client.read())
            assert await client_of(served, "PING") == b"PONG"
            assert cluster.learns
            assert not reading.done()
        assert told(await reading) == f"MOVED {slot(other)} 10.0.0.2:7001"
        assert await client.read() is None
        assert not cluster.learns


async def test_a_key_in_upper_case_is_asked_for_elsewhere_by_a_map_that_stays(published: Published) -> None:
    """Its slot is that of the text as it is written: the owner of that slot is whom a client comes to by its map."""
    nodes = {each.name: each for each in (ONE, TWO, THREE)}
    async with node(published) as served:
        dataset = published.datasets[1]
        router, client = await leased(served, dataset, *nodes.values()), await served.connect()
        await tell(served, router, dataset, 1, *nodes.values())
        ring = build_ring(nodes, 1, 256)
        said = set()
        for key in KEYS:
            hashed = key_slot(key.upper())
            ((lies,), (asked,)) = ring.owners[slot(key) >> 6], ring.owners[hashed >> 6]
            reply = await client("GET", key.upper())
            if lies == "one":
                assert reply == value_of(1, key)
                continue
            word, owner = ("ASK", nodes[lies]) if asked == "one" else ("MOVED", nodes[asked])
            assert told(reply) == f"{word} {hashed} {owner.host}:{owner.port}"
            said.add((word, owner.name))
        assert said == {(word, name) for word in ("ASK", "MOVED") for name in ("two", "three")}


async def test_cluster_commands_tell_the_topology_in_force(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        client = await served.connect()
        assert await client("CLUSTER", "SLOTS") == []
        assert b"cluster_state:fail" in await client("CLUSTER", "INFO")
        router = await leased(served, dataset, ONE, TWO)
        await tell(served, router, dataset, 5, ONE, TWO)
        covered: list[int] = []
        for first, last, (host, port, node_id, _more) in await client("CLUSTER", "SLOTS"):
            owner = ONE if host == b"10.0.0.1" else TWO
            assert (port, node_id.decode()) == (owner.port, owner.node_id)
            covered += range(first, last + 1)
        assert covered == list(range(SLOTS))
        assert (await client("CLUSTER", "MYID")).decode() == ONE.node_id
        assert b"cluster_state:ok\r\n" in await client("CLUSTER", "INFO")
        assert b"cluster_current_epoch:5\r\n" in await client("CLUSTER", "INFO")
        lines = (await client("CLUSTER", "NODES")).decode().splitlines()
        assert [line.split()[1:3] for line in lines] == [
            ["10.0.0.1:7000@0", "myself,master"],
            ["10.0.0.2:7001@0", "master"],
        ]
        shards = [dict(zip(shard[::2], shard[1::2], strict=True)) for shard in await client("CLUSTER", "SHARDS")]
        bounds = [shard[b"slots"] for shard in shards]
        assert (
            sum(last - first + 1 for each in bounds for first, last in zip(each[::2], each[1::2], strict=True)) == SLOTS
        )
        assert await client("CLUSTER", "KEYSLOT", "123456789") == 12739
        for command in ("READONLY", "READWRITE", "ASKING"):
            assert await client(command) == b"OK"
        assert told(await client("CLUSTER", "MEET", "10.0.0.3", "7000")).startswith("ERR unknown subcommand 'MEET'")
        assert told(await client("CLUSTER", "SLOTS", "x")).startswith("ERR wrong number of arguments")
        assert await client("CONFIG", "GET", "cluster-enabled") == [b"cluster-enabled", b"yes"]
        hello = await client("HELLO", 3)
        assert (hello[b"mode"], hello[b"id"] > 0) == (b"cluster", True)
        assert (await client("CLUSTER", "SLOTS"))[0][2][3] == {}


async def test_the_keys_of_a_slot_are_counted_and_told(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        router = await leased(served, dataset, ONE, TWO)
        await tell(served, router, dataset, 1, ONE, TWO)
        client = await served.connect()
        mine = owned("one", ONE, TWO)
        by_slot: dict[int, set[bytes]] = {}
        for key in mine:
            by_slot.setdefault(slot(key), set()).add(key)
        for wanted, keys in list(by_slot.items())[:200]:
            assert await client("CLUSTER", "COUNTKEYSINSLOT", wanted) == len(keys)
            assert set(await client("CLUSTER", "GETKEYSINSLOT", wanted, 100)) == keys
        assert len(await client("CLUSTER", "GETKEYSINSLOT", slot(mine[0]), 1)) == 1
        assert await client("CLUSTER", "COUNTKEYSINSLOT", slot(owned("two", ONE, TWO)[0])) == 0
        assert told(await client("CLUSTER", "COUNTKEYSINSLOT", SLOTS)) == "ERR Invalid slot"
        assert told(await client("CLUSTER", "GETKEYSINSLOT", 0, -1)) == "ERR Invalid number of keys"


async def test_only_a_router_with_a_lease_tells_and_only_what_is_newer(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        stranger = await served.connect()
        assert told(await tell(served, stranger, dataset, 1, ONE, TWO)).startswith("ERR TOPOLOGY is for a router")
        router = await leased(served, dataset, ONE, TWO)
        assert told(await router("TOPOLOGY", "x")).startswith("ERR want TOPOLOGY")
        assert await tell(served, router, dataset, 5, ONE, TWO) == b"OK 5"
        assert (
            told(await tell(served, router, dataset, 4, ONE)) == "STALEEPOCH 5 is the epoch of what one was told last"
        )
        assert await tell(served, router, dataset, 3, ONE, TWO) == b"OK 5", "it says the same"
        assert await tell(served, router, dataset, 6, ONE) == b"OK 6"
        assert len(await stranger("CLUSTER", "SLOTS")) == 1


async def test_what_is_said_again_at_a_higher_epoch_is_told_at_that(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        router, client = await leased(served, dataset, ONE, TWO), await served.connect()
        for epoch in (1, 9):
            assert await tell(served, router, dataset, epoch, ONE, TWO) == b"OK %d" % epoch
            assert b"cluster_current_epoch:%d\r\n" % epoch in await client("CLUSTER", "INFO")
            assert b" %d connected 0-" % epoch in await client("CLUSTER", "NODES")


async def test_leases_outlive_their_router_for_the_grace_time(published: Published) -> None:
    async with node(published, Direct(DIRECT.announce, grace=0.3)) as served:
        dataset = published.datasets[1]
        client = await served.connect()
        key = owned("one", ONE, TWO)[0]
        router = await leased(served, dataset, ONE, TWO)
        await tell(served, router, dataset, 1, ONE, TWO)
        router.close()
        cluster = served.state.cluster
        assert cluster is not None
        await eventually(lambda: cluster._timer is not None)  # noqa: SLF001 - when the grace time began
        assert await client("GET", key) == value_of(1, key)
        again = await leased(served, dataset, ONE, TWO)
        await asyncio.sleep(0.5)
        assert await client("GET", key) == value_of(1, key), "another router has come in time"
        again.close()
        await eventually(lambda: cluster.view is None)
        assert told(await client("GET", key)).startswith("CLUSTERDOWN no router")
        assert served.state.versions.leases == 0
        assert not served.version.store.blocks.rows


async def test_what_a_topology_took_away_is_let_go_at_once(published: Published) -> None:
    async with node(published) as served:
        dataset = published.datasets[1]
        router = await leased(served, dataset, ONE)
        await tell(served, router, dataset, 1, ONE)
        assert len(served.version.store.blocks.rows) == 256
        next_router = await leased(served, dataset, ONE, TWO)
        await tell(served, next_router, dataset, 2, ONE, TWO)
        router.close()
        rows = served.version.store.blocks.rows
        await eventually(lambda: len(rows) < 256)
        assert len(rows) == len(build_ring(("one", "two"), 1, 256).owned_by("one"))


async def test_direct_clients_read_the_version_that_routers_serve(published: Published) -> None:
    async with node(published) as served:
        first = published.datasets[1]
        client, before = await served.connect(), await leased(served, first, ONE)
        await tell(served, before, first, 1, ONE)
        serial = published.publish(2)
        await eventually(lambda: served.state.versions.newest.about.serial == serial)
        assert await client("GET", KEYS[0]) == value_of(1, KEYS[0]), "no router serves the next one yet"
        late = await served.connect()
        assert await late("GET", KEYS[0]) == value_of(1, KEYS[0])
        second = published.datasets[2]
        after = await leased(served, second, ONE)
        await tell(served, after, second, 2, ONE)
        assert [await each("GET", KEYS[0]) for each in (client, late)] == [value_of(2, KEYS[0])] * 2
        assert await before("GET", KEYS[0]) == value_of(1, KEYS[0])


async def test_a_key_is_read_in_the_next_version_where_only_that_has_it_here(published: Published) -> None:
    """Another shard has heard of a new ring and a new version before this one: neither may send the client back."""
    async with node(published) as served:
        first = published.datasets[1]
        serial = published.publish(2)
        await eventually(lambda: served.state.versions.newest.about.serial == serial)
        before = await leased(served, first, ONE, TWO)
        await tell(served, before, first, 1, ONE, TWO)
        client = await served.connect()
        key = owned("two", ONE, TWO)[0]
        assert told(await client("GET", key)).startswith("MOVED ")
        await leased(served, published.datasets[2], ONE)
        assert await client("GET", key) == value_of(2, key)
        assert await client("MGET", key, key) == [value_of(2, key)] * 2
        mine = owned("one", ONE, TWO)[0]
        assert await client("GET", mine) == value_of(1, mine)


async def test_a_node_with_a_secret_answers_nobody_who_has_not_said_it(published: Published) -> None:
    async with node(published, secret="s3cret") as served:
        dataset = published.datasets[1]
        router = await leased(served, dataset, ONE, secret="s3cret")
        await tell(served, router, dataset, 1, ONE)
        client = await served.connect()
        for request in (("GET", KEYS[0]), ("CLUSTER", "SLOTS"), ("HELLO", 3), ("INFO",), ("MULTI",)):
            assert told(await client(*request)).startswith("NOAUTH ")
        assert told(await client("AUTH", "wrong")).startswith("WRONGPASS ")
        assert told(await client("GET", KEYS[0])).startswith("NOAUTH ")
        hello = await client("HELLO", 3, "AUTH", "default", "s3cret")
        assert hello[b"proto"] == 3
        assert await client("GET", KEYS[0]) == value_of(1, KEYS[0])
        assert await client("RESET") == b"RESET"
        assert told(await client("GET", KEYS[0])).startswith("NOAUTH ")


async def test_a_shard_that_announces_nothing_is_no_node(published: Published) -> None:
    async with serving(Followed(published.path), leased=True) as served:
        dataset = published.datasets[1]
        client, router = await served.connect(), await leased(served, dataset, ONE, TWO)
        assert await router(*NodeTable(3, dataset, 256, 1, (Node("one"), TWO)).command()) == b"OK 3"
        other = owned("two", ONE, TWO)[0]
        assert told(await client("GET", other)).startswith("NOTLEASED ")
        for request in (("CLUSTER", "SLOTS"), ("CLUSTER", "COUNTKEYSINSLOT", 1), ("READONLY",), ("ASKING",)):
            assert told(await client(*request)) == "ERR This instance has cluster support disabled"
        assert b"cluster_enabled:0" in await client("INFO")


async def test_what_a_router_has_asked_for_does_not_become_direct_when_it_goes(published: Published) -> None:
    async with node(published) as served:
        router = await leased(served, published.datasets[1], ONE)
        for key in KEYS[:20]:
            assert await router("GET", key) == value_of(1, key)
        before = served.state.direct
        router.close()
        await eventually(lambda: not served.state.routers)
        assert served.state.direct == before
