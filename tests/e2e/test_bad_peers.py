"""A router among peers that are wrong, strangers, or nobody: it says so once, serves what it can, and goes on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from ringkv.process.address import Address
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import Response, ask_for_all, fetch
from tests.support.processes import PATIENCE, Spawned, SpawnedShard, Spawner, eventually

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


class Router:
    """`ringkv router` on a port of its own."""

    def __init__(self, spawn: Spawner, *shards: Address, replicas: int = 1) -> None:
        listed = ",".join(map(str, shards))
        self.spawned: Spawned = spawn(
            "router", "--shards", listed, "--listen", "127.0.0.1:0", "--replicas", str(replicas)
        )
        match = self.spawned.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")
        self.port = int(match[1])

    async def get(self, target: str) -> Response:
        return await fetch("127.0.0.1", self.port, target)

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await ready():  # noqa: ASYNC110 - it is another process that gets ready
                await asyncio.sleep(0.02)

    async def serves(self, *names: str) -> None:
        """Wait until the topology is made of these shards."""

        async def ready() -> bool:
            shards = (await self.get("/ring")).json["shards"]
            return sorted(shard["name"] for shard in shards if shard["state"] == "serving") == sorted(names)

        await self.until(ready)

    async def keeps_out(self, address: Address) -> str:
        """Wait until an address is kept out; the reason."""

        async def ready() -> bool:
            return str(address) in (await self.get("/ring")).json["kept_out"]

        await self.until(ready)
        reason: str = (await self.get("/ring")).json["kept_out"][str(address)]
        return reason


async def every_pair(router: Router, path: Path = EXAMPLE) -> None:
    pairs = dict(read_pairs(path))
    asked, wrong = await ask_for_all("127.0.0.1", router.port, pairs.items(), connections=8)
    assert (asked, wrong) == (len(pairs), [])


@pytest.fixture(params=["http", "garbage", "silent"])
def stranger(request: pytest.FixtureRequest) -> Iterator[Address]:
    """Somebody else's server."""
    if request.param == "http":
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
            Thread(target=server.serve_forever, args=(0.05,)).start()
            yield Address("127.0.0.1", server.server_address[1])
            server.shutdown()
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connections.append(connection)
                if request.param == "garbage":
                    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x28 what do you want?\r\n")

        thread = Thread(target=serve)
        thread.start()
        yield Address("127.0.0.1", listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connections:
            connection.close()


async def test_a_stranger_is_named_once_and_a_shard_is_served_as_soon_as_it_appears(
    spawn: Spawner, stranger: Address
) -> None:
    address = Address(f"{spawn.directory()}/s", None)
    router = Router(spawn, stranger, address)
    line = router.spawned.wait_for_line(rf"(?m)^.* WARNING ringkv.router: shard at {stranger}: .*$")[0]
    assert "does not speak the Redis protocol" in line or "no answer in time" in line
    response = await router.get("/readyz")
    assert (response.status, response.body) == (503, b"no shard can be reached\n")
    assert response.headers["Retry-After"] == "1"
    assert (await router.get("/healthz")).status == 200
    shard = spawn("shard", EXAMPLE, "--listen", str(address), "--name", "a", "--leased")
    await router.serves("a")
    assert (await router.get("/readyz")).status == 200
    await every_pair(router)
    assert shard.process.poll() is None
    assert router.spawned.err.count(f"shard at {stranger}: ") == 1
    assert "Traceback" not in router.spawned.err


async def test_a_redis_server_is_no_shard(spawn: Spawner) -> None:
    """It speaks the protocol, and is named for what it is."""
    answering = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(writer)
        try:
            while await reader.read(1000):
                writer.write(b"$24\r\n# Server\r\nredis_mode:x\r\n\r\n")
        finally:
            writer.close()
            answering.remove(writer)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        router = Router(spawn, Address("127.0.0.1", port))
        await eventually(lambda: "what answers there is not a ringkv shard" in router.spawned.err)
        assert (await router.get("/readyz")).status == 503
        router.spawned.end()
        # Once a later connection is answered, all that the router has made are known.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        await reader.readline()
        writer.close()
        await eventually(lambda: not answering)


async def test_nobody_anywhere_is_503_with_the_reason(spawn: Spawner) -> None:
    router = Router(spawn, Address("/nowhere/at/all", None))
    response = await router.get(f"/{KEY}")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert response.body == b"no shard that owns this key could be reached\n"
    assert router.spawned.process.poll() is None


async def test_a_second_shard_of_a_name_is_kept_out_and_disturbs_nobody(spawn: Spawner) -> None:
    shards = [spawn.shard(EXAMPLE, "--leased", "--name", name) for name in ("a", "b")]
    late = Address(f"{spawn.directory()}/s", None)
    router = Router(spawn, *(shard.address for shard in shards), late)
    await router.serves("a", "b")
    epoch = (await router.get("/ring")).json["epoch"]
    spawn("shard", EXAMPLE, "--leased", "--name", "a", "--listen", str(late))
    reason = await router.keeps_out(late)
    assert reason == f"the name a is taken by {shards[0].address}; give it another"
    assert f"shard at {late} is kept out: {reason}" in router.spawned.err
    view = (await router.get("/ring")).json
    assert view["epoch"] == epoch
    assert [(shard["name"], shard["state"]) for shard in view["shards"]] == [("a", "serving"), ("b", "serving")]
    await every_pair(router)


async def test_a_shard_of_another_dataset_is_kept_out_and_disturbs_nobody(spawn: Spawner, tmp_path: Path) -> None:
    other = tmp_path / "other.data"
    other.write_bytes(b"".join(lines(1_000, seed=99)))
    shards = [spawn.shard(EXAMPLE, "--leased", "--name", name) for name in ("a", "b")]
    late = Address(f"{spawn.directory()}/s", None)
    router = Router(spawn, *(shard.address for shard in shards), late)
    await router.serves("a", "b")
    spawn("shard", other, "--leased", "--name", "c", "--listen", str(late))
    reason = await router.keeps_out(late)
    served = (await router.get("/ring")).json["dataset"]
    assert reason.startswith("it serves dataset ")
    assert reason.endswith(f", this cluster {served}")
    assert f"shard at {late} is kept out: {reason}" in router.spawned.err
    await every_pair(router)


async def test_two_routers_of_different_rings_share_a_shard(spawn: Spawner) -> None:
    """A lease is a router's own: what one of them asks for takes nothing from the other."""
    a, b, c = (spawn.shard(EXAMPLE, "--leased", "--name", name).address for name in "abc")
    one, two = Router(spawn, a, b), Router(spawn, b, c, replicas=2)
    await one.serves("a", "b")
    await two.serves("b", "c")
    await asyncio.gather(every_pair(one), every_pair(two))
    one.spawned.process.kill()
    one.spawned.wait()
    await every_pair(two)


async def test_a_wrong_secret_is_named_and_the_right_one_serves(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--leased", "--name", "a", env={"RINGKV_SECRET": "right"})

    def router(secret: str | None) -> Router:
        class Its(Spawner):
            def __call__(self, *args: str | Path, env: dict[str, str] | None = None) -> Spawned:
                return spawn(*args, env={**(env or {}), **({"RINGKV_SECRET": secret} if secret else {})})

        return Router(Its(spawn.cache), shard.address)

    wrong, none, right = router("wrong"), router(None), router("right")
    wrong.spawned.wait_for_line("WRONGPASS the secret does not match")
    none.spawned.wait_for_line("NOAUTH LEASE needs AUTH first")
    await right.serves("a")
    await every_pair(right)
    assert (await wrong.get("/readyz")).status == (await none.get("/readyz")).status == 503
    assert "right" not in right.spawned.err


async def test_a_shard_that_joins_takes_over_what_it_owns(spawn: Spawner) -> None:
    shards: list[SpawnedShard] = [spawn.shard(EXAMPLE, "--leased", "--name", name) for name in ("a", "b")]
    late = Address(f"{spawn.directory()}/s", None)
    router = Router(spawn, *(shard.address for shard in shards), late)
    await router.serves("a", "b")
    joining = spawn("shard", EXAMPLE, "--leased", "--name", "c", "--listen", str(late))
    await router.serves("a", "b", "c")
    view = (await router.get("/ring")).json
    assert sum(shard["keys"] for shard in view["shards"]) == 10_000
    await every_pair(router)
    joining.process.terminate()
    assert joining.wait() == 0
    await router.serves("a", "b")
    await every_pair(router)
    with closing(socket.socket(socket.AF_UNIX)) as client, pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        client.connect(late.host)


async def test_a_packed_file_and_its_source_are_the_same_dataset(spawn: Spawner, tmp_path: Path) -> None:
    pack(EXAMPLE, tmp_path / "packed")
    shards = [
        spawn.shard(path, "--leased", "--name", name).address
        for name, path in (("a", EXAMPLE), ("b", tmp_path / "packed"))
    ]
    router = Router(spawn, *shards)
    await router.serves("a", "b")
    assert (await router.get("/ring")).json["kept_out"] == {}
    await every_pair(router)
