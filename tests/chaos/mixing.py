"""Readers that look for an answer of two versions: single reads, batches, pipelines and transactions, until SIGTERM.

    python -m tests.chaos.mixing example.data --http HOST:PORT --redis HOST:PORT --versions v.json --output out.json

Each value begins with the number of its version, as `v3 …`, and v.json tells the numbers of datasets: so an answer
shows whether all of it is of one version, and whether that is the one which it names. How long an answer takes is
measured by the load beside it: these readers take what processors that and the cluster leave.
"""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import click
import redis.asyncio
import uvloop

from ringkv.process.priority import step_aside

BATCH: Final = 20
"""Keys that are read together: with several shards some of each."""

PAUSE: Final = 0.005
"""Seconds between two reads of a reader."""

SHOWN: Final = 5
"""Of each kind of fault so many are told."""


def version_of(value: bytes) -> str:
    """The number with which a value begins."""
    return value.partition(b" ")[0].decode()


class Readers:
    """`asked` counts reads by their kind; `mixed` and `failed` tell the first faults."""

    def __init__(self, keys: list[str], versions: dict[str, str], http: str, client: "redis.asyncio.Redis") -> None:
        self.asked: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.told: list[str] = []
        self._keys = keys
        self._versions = versions
        self._url = f"http://{http}"
        self._redis = client
        self._random = random.Random(3)

    async def run(self, stop: asyncio.Event) -> None:
        """Read in all ways side by side until `stop`."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            ways: dict[str, Callable[[], Awaitable[None]]] = {
                "get": lambda: self._get(session),
                "mget over HTTP": lambda: self._post(session),
                "mget over Redis": self._mget,
                "pipeline of mget": self._pipeline,
                "transaction": self._transaction,
            }
            await asyncio.gather(*(self._again(name, way, stop) for name, way in ways.items()))

    async def _again(self, name: str, way: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await way()
            except (aiohttp.ClientError, redis.RedisError, OSError, TimeoutError) as error:
                self._fault("failed", f"{name}: {type(error).__name__}: {error}")
            self.asked[name] += 1
            await asyncio.sleep(PAUSE)

    async def _get(self, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{self._url}/{self._some(1)[0]}") as response:
            response.raise_for_status()
            self._judge("get", [await response.read()], response.headers["ETag"])

    async def _post(self, session: aiohttp.ClientSession) -> None:
        keys = self._some(BATCH)
        async with session.post(f"{self._url}/mget", data="".join(f"{key}\n" for key in keys)) as response:
            response.raise_for_status()
            found = [line.partition(b" ")[2] for line in (await response.read()).split(b"\n")[:-1]]
            if len(found) != len(keys):
                self._fault("failed", f"mget over HTTP: {len(found)} of {len(keys)} values")
            self._judge("mget over HTTP", found, response.headers["ETag"])

    async def _mget(self) -> None:
        self._judge("mget over Redis", await self._redis.mget(self._some(BATCH)))

    async def _pipeline(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for _ in range(3):
            pipeline.mget(self._some(BATCH))
        for found in await pipeline.execute():
            self._judge("pipeline of mget", found)

    async def _transaction(self) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        for key in self._some(BATCH):
            pipeline.get(key)
        self._judge("transaction", await pipeline.execute())

    def _some(self, count: int) -> list[str]:
        return self._random.sample(self._keys, count)

    def _judge(self, name: str, values: Sequence[object], tag: str = "") -> None:
        if None in values:
            self._fault("wrong", f"{name}: a key is not found")
        found = {version_of(value) for value in values if isinstance(value, bytes)}
        self.seen.update(found)
        if len(found) > 1 or not found <= set(self._versions.values()):
            self._fault("mixed", f"{name}: versions {sorted(found)} in one answer")
        named = self._versions[tag.strip('"')] if tag else ""
        if named and found != {named}:
            self._fault("mixed", f"{name}: values of {sorted(found)} under the name of {named}")

    def _fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        if self.faults[kind] <= SHOWN:
            self.told.append(f"{kind}: {what}")


async def _until_told(keys: list[str], versions: dict[str, str], http: str, port: str) -> Readers:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, number = port.rpartition(":")
    async with redis.asyncio.Redis(host=host, port=int(number), protocol=3) as client:
        readers = Readers(keys, versions, http, client)
        print("begins", flush=True)  # noqa: T201 - the harness waits for it
        await readers.run(stop)
    return readers


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--http", required=True, help="host:port of a router.")
@click.option("--redis", "port", required=True, help="host:port of its Redis port.")
@click.option("--versions", type=click.Path(path_type=Path), required=True, help="JSON: dataset id to number.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(data: Path, http: str, port: str, versions: Path, output: Path) -> None:
    """Read until SIGTERM, then write what was seen."""
    step_aside()
    keys = [line[:36].decode() for line in data.read_bytes().split(b"\n")[:-1]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        readers = runner.run(_until_told(keys, json.loads(versions.read_text()), http, port))
    found = {"asked": readers.asked, "seen": readers.seen, "faults": readers.faults, "told": readers.told}
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
