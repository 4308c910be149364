"""Shards of one process to which can happen what happens to processes: killed, stopped, told to leave."""

import asyncio
from pathlib import Path

from ringkv.process.address import Address
from ringkv.shard.commands import COMMANDS
from ringkv.shard.connection import ShardConnection
from ringkv.shard.server import Shard
from ringkv.shard.settings import Followed, ShardSettings
from ringkv.shard.state import ShardState


class _Process:
    """What a real process has besides its code: it can be stopped, and loses its sockets when it is killed."""

    def __init__(self) -> None:
        self.stopped = False
        self.ended = False
        self.connections: set[_StoppableConnection] = set()


class _StoppableConnection(ShardConnection):
    """Reads nothing while its process is stopped; the kernel keeps what arrives."""

    def __init__(self, process: _Process, state: ShardState) -> None:
        super().__init__(state, COMMANDS)
        self._process = process
        self._kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._process.connections.add(self)
        if self._process.ended:
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._process.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._process.stopped:
            self._kept.append(data)
        else:
            super().data_received(data)

    def go_on(self) -> None:
        kept, self._kept = self._kept, []
        if kept and not self._transport.is_closing():
            super().data_received(b"".join(kept))

    def kill(self) -> None:
        self._transport.abort()


class _StoppableShard(Shard):
    def __init__(self, settings: ShardSettings, process: _Process) -> None:
        super().__init__(settings)
        self._process = process

    def connection(self) -> ShardConnection:
        return _StoppableConnection(self._process, self.state)


class SimulatedShard:
    """A shard as the supervisor of its process sees it."""

    def __init__(self, catalog: Path, name: str, address: Address) -> None:
        self.name = name
        self.leaving: asyncio.Task[None] | None = None
        self._process = _Process()
        self._shard = _StoppableShard(ShardSettings(Followed(catalog), name, address, leased=True), self._process)

    async def start(self) -> None:
        await self._shard.start()

    @property
    def healthy(self) -> bool:
        return not self._process.stopped and self.leaving is None

    @property
    def leases(self) -> int:
        return self._shard.state.versions.leases

    @property
    def held(self) -> int:
        """How many versions it holds open."""
        return len(self._shard.state.versions)

    @property
    def leased(self) -> int:
        """How many partitions can be read, of all versions that it offers."""
        return sum(len(version.store.blocks.rows) for version in self._shard.state.versions.offered)

    def stop(self) -> None:
        """SIGSTOP."""
        self._process.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.stopped = False
        for connection in list(self._process.connections):
            connection.go_on()

    def leave(self) -> None:
        """SIGTERM."""
        self.leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        await self._shard.drain()
        await self._shard.close()
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL."""
        self._process.ended = True
        for connection in list(self._process.connections):
            connection.kill()
        await self._shard.close()
