"""The embedded cluster: shards and a router as processes of this machine, kept alive, stopped together.

supervisor ─┬─ shard-1 … shard-N     on Unix sockets in a folder of their own
            └─ router, or several   on the one port that anybody needs to know
"""

import asyncio
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, wait_fixed

import router.workers
import shard.server
from cluster.address import Address
from cluster.cli import LogStyle
from cluster.forking import fork_server
from cluster.process import Serve
from cluster.supervisor import Supervisor
from router.discovery import Discovery
from router.server import RouterSettings, Worker
from shard.server import ShardSettings

READY_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class LocalSettings:
    packed: Path
    shards: int
    replicas: int
    log_style: LogStyle


async def serve(settings: LocalSettings, workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """Run the cluster until `stop`. Prints one line when the first GET will succeed. Raises StartupError."""
    with tempfile.TemporaryDirectory(prefix="ringkv-") as runtime:
        supervisor = Supervisor(fork_server(__name__), settings.log_style)
        try:
            _start(supervisor, settings, workers, Path(runtime))
            if await _ready(supervisor, _address(workers[0].http), stop):
                print(f"ringkv: ready on {_where(workers[0])}", flush=True)  # noqa: T201 - the command's answer
            await stop.wait()
        finally:
            await supervisor.stop()


def _start(supervisor: Supervisor, settings: LocalSettings, workers: Sequence[Worker], runtime: Path) -> None:
    addresses = {f"shard-{n}": Address(f"{runtime}/shard-{n}.sock", None) for n in range(1, settings.shards + 1)}
    supervisor.keep(
        {
            name: partial(_shard, ShardSettings(settings.packed, name, address, leased=True))
            for name, address in addresses.items()
        }
    )
    router_settings = RouterSettings(Discovery(frozenset(addresses.values())), settings.replicas)
    supervisor.keep(router.workers.parts(router_settings, workers, runtime))


def _where(worker: Worker) -> str:
    redis = f", redis://{_address(worker.redis)}" if worker.redis else ""
    return f"http://{_address(worker.http)}{redis}"


def _address(bound: socket.socket) -> Address:
    return Address(*bound.getsockname()[:2])


async def _ready(supervisor: Supervisor, http: Address, stop: asyncio.Event) -> bool:
    """Wait until the router has a topology; False when `stop` came first. Raises StartupError."""
    waiting, stopping = asyncio.create_task(_answers(http)), asyncio.create_task(stop.wait())
    first: set[asyncio.Future[Any]] = {waiting, stopping, supervisor.failed}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    stopping.cancel()
    if supervisor.failed.done():
        supervisor.failed.result()
    supervisor.settled = not stop.is_set()
    return supervisor.settled


async def _answers(http: Address) -> None:
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    url = f"http://{Address(loopback, http.port)}/readyz"
    async for attempt in AsyncRetrying(wait=wait_fixed(READY_POLL), retry=retry_if_exception_type(OSError)):
        with attempt:
            await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> None:
    # Not long: a router that has yet to start keeps the connection waiting, and so would the thread keep Ctrl-C.
    with urllib.request.urlopen(url, timeout=0.5):  # noqa: S310 - the URL is made above
        pass


def _shard(settings: ShardSettings) -> Serve:
    return partial(shard.server.serve, settings)
