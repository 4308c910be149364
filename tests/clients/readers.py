"""Programs that read from the nodes of a Redis Cluster, each with another client and its documented settings."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import coredis
import glide
import redis
import redis.asyncio
from coredis.exceptions import ClusterDownError
from coredis.retry import ConstantRetryPolicy
from glide import GlideClusterClient, GlideClusterClientConfiguration, NodeAddress

from tests.support.processes import PATIENCE, eventually

Get = Callable[[bytes], Awaitable[Any]]

PAUSE = 0.05
"""Seconds between two rounds of a reader, so that six of them leave something of a machine to the shards."""


@asynccontextmanager
async def redis_py(port: int) -> AsyncIterator[Any]:
    client: Any = await asyncio.to_thread(redis.RedisCluster, host="127.0.0.1", port=port)
    yield partial(asyncio.to_thread, client.get)
    client.close()


@asynccontextmanager
async def redis_asyncio(port: int) -> AsyncIterator[Any]:
    async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port) as client:
        yield client.get


@asynccontextmanager
async def of_coredis(port: int) -> AsyncIterator[Get]:
    patience = ConstantRetryPolicy(
        (ClusterDownError, coredis.exceptions.ConnectionError, TimeoutError), retries=20, delay=0.2
    )
    async with coredis.RedisCluster(host="127.0.0.1", port=port, retry_policy=patience) as client:
        yield client.get


@asynccontextmanager
async def valkey_glide(port: int) -> AsyncIterator[Get]:
    client = await GlideClusterClient.create(
        GlideClusterClientConfiguration([NodeAddress("127.0.0.1", port)], request_timeout=10_000)
    )

    async def get(key: bytes) -> bytes | None:
        try:
            return await client.get(key)
        except glide.ConnectionError:
            # What is under way on a connection that is lost fails: a read may be sent again.
            return await client.get(key)

    yield get
    await client.close()


PYTHON = {"redis-py": redis_py, "redis-py, asyncio": redis_asyncio, "coredis": of_coredis, "valkey-glide": valkey_glide}
NODE = ("redis", "ioredis")


class Told:
    """What a reader has seen: `read` values, `wrong` ones, and those that it did not get, in its client's words."""

    def __init__(self) -> None:
        self.read = 0
        self.wrong: list[tuple[bytes, object]] = []
        self.failed: list[str] = []


class Readers:
    """All of them at once. `right` says whether a value may be that of a key."""

    def __init__(self, port: int, keys: Sequence[bytes], right: Callable[[bytes, object], bool]) -> None:
        self._port = port
        self._keys = keys
        self._right = right
        self._stop = asyncio.Event()
        self.told = {name: Told() for name in PYTHON}

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """They read, each at least once, until the end."""
        async with asyncio.TaskGroup() as tasks:
            for name in PYTHON:
                tasks.create_task(self._read(name))
            try:
                await self.go_on()
                yield
                await self.go_on()
            finally:
                self._stop.set()

    async def go_on(self) -> None:
        """Wait until each of them has read more."""
        before = {name: told.read + len(told.failed) for name, told in self.told.items()}
        await eventually(
            lambda: all(told.read + len(told.failed) > before[name] + 50 for name, told in self.told.items())
        )

    def problems(self) -> dict[str, object]:
        """Some of what has failed or was wrong, by the client."""
        return {
            name: (len(told.failed), told.failed[:5], told.wrong[:5])
            for name, told in self.told.items()
            if told.failed or told.wrong
        }

    async def _read(self, name: str) -> None:
        told, at = self.told[name], 0
        async with PYTHON[name](self._port) as get:
            while not self._stop.is_set():
                some = self._keys[at : at + 50]
                if name == "redis-py, asyncio":
                    # Requests of several tasks at once share connections that the client closes under them when it
                    # learns another map: an AttributeError of its own.
                    for key in some:
                        await self._one(get, key, told)
                else:
                    await asyncio.gather(*(self._one(get, key, told) for key in some))
                at = (at + 50) % len(self._keys)
                await asyncio.sleep(PAUSE)

    async def _one(self, get: Get, key: bytes, told: Told) -> None:
        try:
            value = await get(key)
        except Exception as error:  # noqa: BLE001 - each client has its own
            told.failed.append(repr(error))
            return
        told.read += 1
        if not self._right(key, value):
            told.wrong.append((key, value))


class NodeReader:
    """`cluster.cjs` with one of its clients."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, client: str, port: int, data: Path, node_path: Path) -> "NodeReader":
        """It has connected when this returns."""
        script = Path(__file__).with_name("cluster.cjs")
        process = await asyncio.create_subprocess_exec(
            *("node", str(script), client, "127.0.0.1", str(port), str(data)),
            env=os.environ | {"NODE_PATH": str(node_path)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"reading\n"
        return cls(process)

    async def end(self) -> dict[str, Any]:
        """Let it end once it has read all pairs; what it tells."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        out, _ = await asyncio.wait_for(self._process.communicate(), PATIENCE)
        found: dict[str, Any] = json.loads(out)
        return found
