"""While versions come and go under load no request fails, and each answer is of the one version that it names."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from ringkv.process.address import Address
from tests.support.http import read_response, request_bytes
from tests.support.processes import PATIENCE, Spawner
from tests.support.published import KEYS, Published, value_of
from tests.support.redis_port import AsyncClient
from tests.support.resp import command
from tests.support.versioned import Versioned

SWAPS = 6


class Load:
    """Clients of all kinds, each of which asks again and again until it is told to stop."""

    def __init__(self, published: Published, port: int, redis: str) -> None:
        self._versions = {dataset: version for version, dataset in published.datasets.items()}
        self._port = port
        self._redis = redis
        self._stop = asyncio.Event()
        self.answers: dict[str, int] = {}
        self.seen: set[int] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        asking = [self._one, self._one, self._many, self._long, self._transactions, self._pipelines]
        async with asyncio.TaskGroup() as tasks:
            for ask in asking:
                tasks.create_task(ask())
            try:
                yield
            finally:
                self._stop.set()

    def _count(self, kind: str, version: int) -> None:
        self.answers[kind] = self.answers.get(kind, 0) + 1
        self.seen.add(version)

    async def _http(self, ask: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while not self._stop.is_set():
                async with asyncio.timeout(PATIENCE):
                    await ask(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def _one(self) -> None:
        keys = cycle(KEYS)

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            key = next(keys)
            writer.write(request_bytes(f"/{key.decode()}", "GET", ""))
            answer = await read_response(reader)
            assert answer.status == 200, answer
            version = self._versions[answer.headers["ETag"].strip('"')]
            assert answer.body == value_of(version, key), "the tag is of another version"
            self._count("GET", version)

        await self._http(ask)

    async def _mget(self, kind: str, count: int) -> None:
        keys = KEYS[:count]
        body = b"".join(b"%b\n" % key for key in keys)

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(request_bytes("/mget?format=json", "POST", f"Content-Length: {len(body)}\r\n") + body)
            answer = await read_response(reader)
            assert answer.status == 200, answer
            told = json.loads(answer.body)
            version = self._versions[told["dataset"]]
            assert told["values"] == {key.decode(): value_of(version, key).decode() for key in keys}
            self._count(kind, version)

        await self._http(ask)

    async def _many(self) -> None:
        await self._mget("mget", 50)

    async def _long(self) -> None:
        """Several windows."""
        await self._mget("long mget", 2000)

    async def _resp(self, ask: Callable[[AsyncClient], Awaitable[None]]) -> None:
        client = AsyncClient(*await asyncio.open_unix_connection(self._redis))
        try:
            while not self._stop.is_set():
                await ask(client)
        finally:
            await client.close()

    async def _transactions(self) -> None:
        few, many = KEYS[:10], KEYS[:100]

        async def ask(client: AsyncClient) -> None:
            requests = [command("GET", KEYS[0]), command("MGET", *few), command("MGET", *many)]
            client.send(command("MULTI"), *requests, command("EXEC"))
            for _ in range(4):
                assert isinstance(await client.read(), bytes)
            first, some, all_ = await client.read()
            version = int(first.split()[0])
            assert some == [value_of(version, key) for key in few]
            assert all_ == [value_of(version, key) for key in many]
            self._count("EXEC", version)

        await self._resp(ask)

    async def _pipelines(self) -> None:
        async def ask(client: AsyncClient) -> None:
            parts = [KEYS[:12], KEYS[12:100]]
            client.send(*[command("MGET", *part) for part in parts])
            for part in parts:
                values = await client.read()
                version = int(values[0].split()[0])
                assert values == [value_of(version, key) for key in part]
                self._count("pipelined MGET", version)

        await self._resp(ask)


@pytest.mark.parametrize("replicas", ["1", "2"])
async def test_versions_that_come_and_go_fail_and_mix_no_request(spawn: Spawner, tmp_path: Path, replicas: str) -> None:
    published = Published(tmp_path / "catalog")
    for version in (2, 3):
        published.put(version)
    published.publish(1)
    redis = Address(f"{spawn.directory()}/redis", None)
    options = ["--replicas", replicas, "--redis-listen", str(redis)]
    cluster = Versioned(spawn, dict.fromkeys(("one", "two", "three"), published.path), *options)
    load = Load(published, cluster.port, redis.host)
    async with load.running():
        for version in islice(cycle((2, 3, 1)), SWAPS):
            serial = await asyncio.to_thread(published.swap, version)
            await asyncio.to_thread(cluster.serves, serial)
            await asyncio.sleep(0.1)
    assert load.seen == {1, 2, 3}
    assert min(load.answers.values()) > SWAPS, load.answers
    assert len(load.answers) == 5
    assert "ERROR" not in cluster.router.err
    assert "Traceback" not in cluster.router.err
