"""A shard that serves in the process of the test, so that its disk can be made slow, broken, or too large."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ringkv.dataset.segment import Segment
from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from ringkv.resp import codec
from ringkv.shard.server import Shard
from ringkv.shard.settings import Direct, Followed, Pinned, ShardSettings
from ringkv.shard.store import Store
from ringkv.shard.version import Version
from tests.support.processes import short_directory
from tests.support.resp import command


class Asker:
    """A connection to the shard."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._replies = codec.reader()

    def send(self, *requests: tuple[bytes | str | int, ...]) -> None:
        self._writer.write(b"".join(command(*request) for request in requests))

    async def read(self) -> Any:
        while (reply := self._replies.gets()) is codec.NOT_ENOUGH:
            data = await self._reader.read(1 << 20)
            if not data:
                raise ConnectionError("closed")
            self._replies.feed(data)
        return reply

    def close(self) -> None:
        self._writer.transport.abort()
        self._writer.close()

    async def __call__(self, *args: bytes | str | int) -> Any:
        self.send(args)
        return await self.read()


class Served:
    def __init__(self, shard: Shard, address: Address) -> None:
        self.shard = shard
        self.state = shard.state
        self.version: Version = shard.state.versions.newest
        self.store: Store = self.version.store
        self.address = address
        self._opened: list[Asker] = []

    async def connect(self) -> Asker:
        self._opened.append(Asker(*await asyncio.open_unix_connection(self.address.host)))
        return self._opened[-1]

    def close(self) -> None:
        for asker in self._opened:
            asker.close()


@asynccontextmanager
async def serving(
    source: Path | Followed,
    warm_rate: int = 0,
    *,
    leased: bool = False,
    fetch_rate: int = 0,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    secret: str | None = None,
    direct: Direct | None = None,
) -> AsyncIterator[Served]:
    """A shard of the dataset, or of a catalog, which reads nothing ahead unless it is told to."""
    pinned = Pinned(source) if isinstance(source, Path) else source
    with short_directory() as folder:
        address = Address(f"{folder}/s", None)
        shard = Shard(
            ShardSettings(
                pinned,
                "one",
                address,
                leased=leased,
                secret=secret,
                warm_rate=warm_rate,
                fetch_rate=fetch_rate,
                limits=limits,
                direct=direct,
            )
        )
        try:
            await shard.start()
            served = Served(shard, address)
            yield served
            assert not shard.state.versions.failed.done()
            served.close()
        finally:
            await shard.close()
            await asyncio.sleep(0)


class Disk:
    """Stands between all segments and the real disk, which reads ahead what nobody has asked for.

    Nothing but what was read is in memory. Reads are noted, wait at a gate, and break where they are told to.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.reads: list[tuple[int, int]] = []
        self.broken: dict[int, OSError] = {}
        self.together = 0
        self.most = 0
        self._lock = threading.Lock()

    def install(self, replace: Callable[[type, str, object], None]) -> None:
        read, read_now = Segment.read, Segment.read_now
        memory: set[tuple[Segment, int]] = set()

        def slow(segment: Segment, offset: int, size: int) -> bytes:
            with self._lock:
                self.reads.append((offset, size))
                self.together += 1
                self.most = max(self.most, self.together)
            assert self.gate.wait(30)
            with self._lock:
                self.together -= 1
            for at, error in self.broken.items():
                if offset <= at < offset + size:
                    raise error
            memory.add((segment, offset))
            return read(segment, offset, size)

        def now(segment: Segment, offset: int, size: int) -> bytearray | None:
            return read_now(segment, offset, size) if (segment, offset) in memory else None

        replace(Segment, "read", slow)
        replace(Segment, "read_now", now)


def in_block(store: Store, keys: Iterable[bytes]) -> dict[int, list[bytes]]:
    """The keys of each block."""
    found: dict[int, list[bytes]] = {}
    for key in keys:
        found.setdefault(store.block_of(key), []).append(key)
    return found
