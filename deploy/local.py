"""The embedded cluster: shards and a router as processes of this machine, kept alive, stopped together.

supervisor ─┬─ shard-1 … shard-N   on Unix sockets in a folder of their own
            └─ router              on the one port that anybody needs to know
"""

import asyncio
import logging
import socket
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, wait_fixed

import router.server
import shard.server
from cluster.address import Address
from cluster.errors import StartupError
from cluster.forking import fork_server
from cluster.process import Serve
from deploy.children import Child
from router.discovery import Discovery
from router.server import RouterSettings
from shard.server import ShardSettings

log = logging.getLogger("ringkv.up")

RESTART_DELAY_MIN: Final = 0.1
RESTART_DELAY_MAX: Final = 5.0
"""Between the end of a process and its next start: doubles while it keeps ending within RESTART_DELAY_MAX."""

READY_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class LocalSettings:
    packed: Path
    shards: int = 3
    replicas: int = 1
    log_level: str = "warning"


@dataclass(slots=True)
class _Part:
    """A process of the cluster that is started again whenever it ends."""

    name: str
    start: partial[Serve]
    child: Child | None = field(default=None, repr=False)


async def serve(settings: LocalSettings, listening: socket.socket, stop: asyncio.Event) -> None:
    """Run the cluster until `stop`. Prints one line when the first GET will succeed. Raises StartupError."""
    with tempfile.TemporaryDirectory(prefix="ringkv-") as runtime:
        cluster = LocalCluster(settings, Path(runtime), listening)
        try:
            await cluster.start()
            if await cluster.ready(stop):
                host, port = listening.getsockname()[:2]
                print(f"ringkv: ready on http://{host}:{port}", flush=True)  # noqa: T201 - the command's answer
            await cluster.watch(stop)
        finally:
            await cluster.stop()


class LocalCluster:
    def __init__(self, settings: LocalSettings, runtime: Path, listening: socket.socket) -> None:
        addresses = {f"shard-{n}": Address(f"{runtime}/shard-{n}.sock", None) for n in range(1, settings.shards + 1)}
        self._log_level = settings.log_level
        self._context = fork_server(__name__)
        self._shards = [
            _Part(name, partial(_shard, ShardSettings(settings.packed, name, address, leased=True)))
            for name, address in addresses.items()
        ]
        router_settings = RouterSettings(Discovery(frozenset(addresses.values())), settings.replicas)
        # The socket stays open here: while the router is started again, clients wait instead of being refused.
        self._router = _Part("router", partial(_router, router_settings, listening))
        self._listening = listening
        self._keeping: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_ready = False

    async def start(self) -> None:
        for part in [*self._shards, self._router]:
            self._keeping.add(asyncio.create_task(self._keep(part)))

    async def ready(self, stop: asyncio.Event) -> bool:
        """Wait until the router has a topology; False when `stop` came first. Raises StartupError."""
        waiting, stopping = asyncio.create_task(self._answers()), asyncio.create_task(stop.wait())
        first: set[asyncio.Future[Any]] = {waiting, stopping, self._failed}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        stopping.cancel()
        if self._failed.done():
            self._failed.result()
        self._is_ready = not stop.is_set()
        return self._is_ready

    async def watch(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def stop(self) -> None:
        """Stop the router first, so that nobody asks the shards any more."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        for parts in ([self._router], self._shards):
            await asyncio.gather(*(part.child.stop() for part in parts if part.child is not None))

    async def _keep(self, part: _Part) -> None:
        """Start the process, and again whenever it ends."""
        loop = asyncio.get_running_loop()
        delay = RESTART_DELAY_MIN
        while True:
            started = loop.time()
            part.child = Child(self._context, part.name, self._log_level, part.start)
            code = await asyncio.shield(part.child.ended)
            if not self._is_ready and code == 1 and not self._failed.done():
                self._failed.set_exception(StartupError(f"{part.name} could not start; its reason stands above"))
                return
            delay = RESTART_DELAY_MIN if loop.time() - started > RESTART_DELAY_MAX else delay
            log.warning("%s ended with code %d and is started again in %.1f s", part.name, code, delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_DELAY_MAX)

    async def _answers(self) -> None:
        host, port = self._listening.getsockname()[:2]
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        url = f"http://{Address(loopback, port)}/readyz"
        async for attempt in AsyncRetrying(wait=wait_fixed(READY_POLL), retry=retry_if_exception_type(OSError)):
            with attempt:
                await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> None:
    # Not long: a router that has yet to start keeps the connection waiting, and so would the thread keep Ctrl-C.
    with urllib.request.urlopen(url, timeout=0.5):  # noqa: S310 - the URL is made above
        pass


def _shard(settings: ShardSettings) -> Serve:
    return partial(shard.server.serve, settings)


def _router(settings: RouterSettings, listening: socket.socket) -> Serve:
    return partial(router.server.serve, settings, listening)
