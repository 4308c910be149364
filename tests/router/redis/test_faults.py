"""What the Redis port answers while shards are lost, damaged, overloaded or not there yet."""

import pytest

from ringkv.resp import codec
from ringkv.router.policy import FEW_KEYS
from tests.support.data import random_keys
from tests.support.fake_shard import (
    Start,
    close,
    corrupt,
    silence,
    together,
    value,
)
from tests.support.redis_port import Serve, told
from tests.support.resp import command

KEYS = random_keys(600, seed=21)


@pytest.mark.parametrize("request_", [("GET",), ("STRLEN",), ("MGET", KEYS[1]), ("EXISTS", *KEYS[1 : FEW_KEYS + 9])])
async def test_an_unreachable_owner_is_clusterdown_and_the_connection_goes_on(
    start: Start, serve: Serve, short_deadline: float, request_: tuple[bytes | str, ...]
) -> None:
    assert short_deadline
    (shard,) = await start(a=close)
    port = await serve(shard)
    client = await port.connect()
    name, *keys = request_
    client.send(command(name, KEYS[0], *keys), command("PING"))
    assert told(await client.read()) == "CLUSTERDOWN no shard that owns this key could be reached"
    assert await client.read() == b"PONG"
    assert port.lookups.in_flight == 0


async def test_a_damaged_partition_is_clusterdown_with_its_reason(start: Start, serve: Serve) -> None:
    client = await (await serve(*await start(a=corrupt))).connect()
    assert told(await client("GET", KEYS[0])) == "CLUSTERDOWN /data: partition 7 is damaged"


@pytest.mark.parametrize("request_", [("GET",), ("MGET", KEYS[1]), ("MGET", *KEYS[1 : FEW_KEYS + 9])])
async def test_too_many_requests_are_told_to_try_again(
    start: Start, serve: Serve, request_: tuple[bytes | str, ...]
) -> None:
    (shard,) = await start(a=silence)
    port = await serve(shard)
    waiting, client = await port.connect(), await port.connect()
    waiting.send(codec.get_commands(KEYS[:20]))
    await shard.arrived(20)
    port.lookups.most = 20
    name, *keys = request_
    assert told(await client(name, KEYS[0], *keys)).startswith("TRYAGAIN ")
    shard.write(together(shard, KEYS[:20]))
    for key in KEYS[:20]:
        assert await waiting.read() == b"%b of a" % key
    assert port.lookups.in_flight == 0


async def test_without_a_topology_it_says_what_it_can(serve: Serve, short_deadline: float) -> None:
    assert short_deadline
    client = await (await serve()).connect()
    assert await client("PING") == b"PONG"
    assert told(await client("DBSIZE")).startswith("CLUSTERDOWN ")
    info = await client.info()
    assert (info["keys"], info["epoch"], info["dataset_id"]) == ("0", "0", "")
    assert info["cluster_enabled"] == "0"
    for name, count in (("GET", 1), ("MGET", 3), ("MGET", 40)):
        assert told(await client(name, *KEYS[:count])).startswith("CLUSTERDOWN ")


async def test_the_loss_of_an_owner_fails_no_request(start: Start, serve: Serve) -> None:
    dying, heir = await start(a=silence, b=value)
    port = await serve(dying, heir, replicas=2)
    client = await port.connect()
    for _ in range(5):
        client.send(codec.get_commands(KEYS[:30]), command("MGET", *KEYS[:5]), command("MGET", *KEYS[:40]))
    await dying.arrived(1)
    dying.abort()
    expected = [b"%b of b" % key for key in KEYS]
    for _ in range(5):
        assert [await client.read() for _ in range(30)] == expected[:30]
        assert await client.read() == expected[:5]
        assert await client.read() == expected[:40]
