"""Shards in zones: reads stay in the router's own zone, and a zone may be lost."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest

from ringkv.cluster.place import Place
from ringkv.cluster.ring import build_ring
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import fetch, read_response, request_bytes
from tests.support.processes import PATIENCE, SpawnedShard, Spawner, eventually, one_line

PLACES = {f"{zone}{number}": Place(zone) for zone in ("a", "b", "c") for number in (1, 2)}
CLIENTS = 8


async def ring(port: int) -> dict[str, Any]:
    found: dict[str, Any] = (await fetch("127.0.0.1", port, "/ring")).json
    return found


async def reads(port: int) -> tuple[int, int]:
    """How many keys were read in the router's zone, and in others."""
    counters = (await fetch("127.0.0.1", port, "/stats")).json["counters"]
    return counters["own_zone"], counters["other_zone"]


class Zones:
    """Six shards in three zones, and routers in some of them."""

    def __init__(self, spawn: Spawner, places: dict[str, Place]) -> None:
        self._spawn = spawn
        self._places = places
        self.shards: dict[str, SpawnedShard] = {
            name: spawn.shard(EXAMPLE, "--leased", "--name", name, "--weight", f"{place.weight:g}", env=zone)
            for name, place in places.items()
            for zone in [{"RINGKV_ZONE": place.zone}]
        }

    async def router(self, zone: str, replicas: int) -> int:
        """Start one in a zone, and wait until it serves by all shards; its port."""
        addresses = ",".join(str(shard.address) for shard in self.shards.values())
        options = ("--listen", "127.0.0.1:0", "--replicas", str(replicas), "--zone", zone)
        router = self._spawn("router", "--shards", addresses, *options)
        port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
        async with asyncio.timeout(PATIENCE):
            serving = len(self._places) * ["serving"]
            while [shard["state"] for shard in (await ring(port))["shards"]] != serving:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.02)
        return port


@pytest.fixture
def in_zones(spawn: Spawner) -> Callable[[dict[str, Place]], Zones]:
    return lambda places: Zones(spawn, places)


class Load:
    """Clients that ask for one key after the other; `answered` counts, and anything but the value is an error."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = asyncio.Event()
        self.answered = 0

    async def until_stopped(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for first in range(CLIENTS):
                tasks.create_task(self._ask(first))

    def stop(self) -> None:
        self._stop.set()

    async def _ask(self, first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for key, value in cycle(list(read_pairs(EXAMPLE))[first::CLIENTS]):
            if self._stop.is_set():
                break
            writer.write(request_bytes(f"/{key.decode()}"))
            async with asyncio.timeout(PATIENCE):
                response = await read_response(reader)
            assert (response.status, response.body) == (200, value)
            self.answered += 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_reads_stay_in_the_zone_and_a_zone_is_lost_under_load_without_a_failed_request(
    in_zones: Callable[[dict[str, Place]], Zones],
) -> None:
    zones = in_zones(PLACES)
    port, other = await zones.router("a", 3), await zones.router("b", 3)
    load, elsewhere = Load(port), Load(other)
    running = asyncio.gather(load.until_stopped(), elsewhere.until_stopped())
    try:
        await eventually(lambda: running.done() or min(load.answered, elsewhere.answered) > 500)
        for router in (port, other):
            # Each zone has one owner of a key: while shards are late, as at the start, hedges go to other zones.
            async with asyncio.timeout(PATIENCE):
                while (counted := await reads(router))[0] < 0.99 * sum(counted):  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.05)
            own, others = counted
            assert own >= 0.99 * (own + others) > 0
        own, others = await reads(port)
        for name in ("a1", "a2"):
            os.kill(zones.shards[name].spawned.pid, signal.SIGKILL)
        before = load.answered
        await eventually(lambda: running.done() or load.answered > before + 1000)
        assert (await reads(port))[1] > others
    finally:
        load.stop()
        elsewhere.stop()
        await running
    view = await ring(port)
    assert {shard["name"] for shard in view["shards"] if shard["state"] == "serving"} == {"b1", "b2", "c1", "c2"}
    assert (await fetch("127.0.0.1", port, "/readyz")).status == 200


async def test_batches_and_figures_know_zones_and_weights(in_zones: Callable[[dict[str, Place]], Zones]) -> None:
    places = {"one": Place("a", 2.0), "two": Place("b"), "three": Place("b")}
    zones = in_zones(places)
    port = await zones.router("b", 2)
    pairs = list(read_pairs(EXAMPLE))
    body = b"\n".join(key for key, _ in pairs)
    assert (await fetch("127.0.0.1", port, "/mget", "POST", body=body)).status == 200
    assert await reads(port) == (len(pairs), 0)
    view = await ring(port)
    assert view["ring"] == build_ring(places, 2, 256, places).ring_id
    assert {shard["name"]: (shard["zone"], shard["weight"]) for shard in view["shards"]} == {
        name: (place.zone, place.weight) for name, place in places.items()
    }
    assert {shard["name"]: shard["partitions"] for shard in view["shards"]}["one"] == 256
    explained = (await fetch("127.0.0.1", port, f"/explain/{pairs[0][0].decode()}")).json
    assert explained["shard"] in {"two", "three"}
    assert {owner["zone"] for owner in explained["owners"]} == {"a", "b"}
    metrics = (await fetch("127.0.0.1", port, "/metrics")).body.decode()
    assert f'ringkv_zone_reads_total{{zone="own"}} {float(len(pairs))}' in metrics


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            ("shard", EXAMPLE, "--zone", "a zone"),
            "not a zone: 'a zone' (want letters, digits, dots, dashes and underscores)",
        ),
        (("router", "--shards", "127.0.0.1:1", "--zone", "@"), "not a zone: '@'"),
        (("shard", EXAMPLE, "--weight", "0"), "a weight is a number from 0.1 to 100 as 2 or 0.75, not '0'"),
        (("shard", EXAMPLE, "--weight", "twice"), "a weight is a number from 0.1 to 100 as 2 or 0.75, not 'twice'"),
    ],
)
def test_a_bad_zone_or_weight_is_one_line(spawn: Spawner, args: tuple[str, ...], reason: str) -> None:
    assert reason in one_line(spawn(*args), 2)
