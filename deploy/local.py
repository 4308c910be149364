"""The embedded cluster: shards and a router as processes of this machine, kept alive, stopped together.

supervisor ─┬─ shard-1 … shard-N     on Unix sockets in a folder of their own
            └─ router, or several   on the one port that clients need to know
"""

import asyncio
import tempfile
import urllib.error
import urllib.request
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, wait_fixed

import ringkv.router.workers
import ringkv.shard.server
from ringkv.cluster.errors import PackedFileChanged
from ringkv.dataset.dataset import Dataset
from ringkv.process.address import Address
from ringkv.process.forking import fork_server
from ringkv.process.handing import Handed
from ringkv.process.logs import LogStyle
from ringkv.process.run import Serve
from ringkv.process.start import name_process
from ringkv.process.supervisor import Supervisor
from ringkv.router.members.controller import Cluster
from ringkv.router.members.discovery import Discovery
from ringkv.router.server import RouterSettings, Worker
from ringkv.shard.server import WARM_RATE, Pinned, ShardSettings
from ringkv.shard.watch import LOOK_SECONDS

READY_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class LocalSettings:
    dataset: Dataset  # shards that are started again serve what is open here, whatever has its name then
    shards: int
    replicas: int
    log_style: LogStyle
    cors: str | None = None
    warm_rate: int = WARM_RATE


async def serve(settings: LocalSettings, workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """Run the cluster until `stop`. Prints one line when the first GET will succeed.

    Raises StartupError, and PackedFileChanged when a segment is overwritten.
    """
    with tempfile.TemporaryDirectory(prefix="ringkv-") as runtime:
        supervisor = Supervisor(fork_server(__name__), settings.log_style)
        try:
            _start(supervisor, settings, workers, Path(runtime))
            if await _ready(supervisor, Address.of(workers[0].http), stop):
                print(f"ringkv: ready on {_where(workers[0])}", flush=True)  # noqa: T201 - the command's answer
            await _first(supervisor.failed, stop.wait(), _cut_off(settings.dataset))
        except PackedFileChanged as error:
            # Told by its size, or else as the one that was written to last.
            changed = max(settings.dataset.segments, key=lambda segment: segment.look().changed)
            raise changed.changed("a shard has read other bytes than before") from error
        finally:
            await supervisor.stop()


def _start(supervisor: Supervisor, settings: LocalSettings, workers: Sequence[Worker], runtime: Path) -> None:
    addresses = {f"shard-{n}": Address(f"{runtime}/shard-{n}.sock", None) for n in range(1, settings.shards + 1)}
    path, handed = settings.dataset.path, Handed(settings.dataset.descriptor)
    supervisor.keep(
        {
            name: partial(
                _shard,
                ShardSettings(Pinned(path, handed), name, address, leased=True, warm_rate=settings.warm_rate),
            )
            for name, address in addresses.items()
        }
    )
    cluster = Cluster(Discovery(frozenset(addresses.values())), settings.replicas)
    router_settings = RouterSettings(cluster, cors=settings.cors)
    supervisor.keep(ringkv.router.workers.parts(router_settings, workers, runtime))


def _where(worker: Worker) -> str:
    redis = f", redis://{Address.of(worker.redis)}" if worker.redis else ""
    return f"http://{Address.of(worker.http)}{redis}"


async def _ready(supervisor: Supervisor, http: Address, stop: asyncio.Event) -> bool:
    """Wait until the router has a topology; False when `stop` came first. Raises as `Supervisor.failed` does."""
    await _first(supervisor.failed, _answers(http), stop.wait())
    supervisor.settled = not stop.is_set()
    return supervisor.settled


async def _first(failed: asyncio.Future[None], *lives: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of them has ended, and raise what that raises."""
    tasks = [asyncio.create_task(life) for life in lives]
    first: set[asyncio.Future[Any]] = {failed, *tasks}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    ended = [each for each in first if each.done()]
    for task in tasks:
        task.cancel()
    for each in ended:
        each.result()


async def _cut_off(dataset: Dataset) -> None:
    """Run as long as all segments have their sizes. Raises PackedFileChanged.

    The shards notice this too, and more than this. But one that reads behind the end of a file before that is killed,
    and so would its successors be.
    """
    while True:
        for segment in dataset.segments:
            segment.look()
        await asyncio.sleep(LOOK_SECONDS)


async def _answers(http: Address) -> None:
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    url = f"http://{Address(loopback, http.port)}/readyz"
    async for attempt in AsyncRetrying(wait=wait_fixed(READY_POLL), retry=retry_if_exception_type(OSError)):
        with attempt:
            await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> None:
    # A short timeout: until the router runs, its socket accepts the connection and nobody answers, and Ctrl-C would
    # have to wait for this thread.
    with urllib.request.urlopen(url, timeout=0.5):  # noqa: S310 - the URL is made above
        pass


def _shard(settings: ShardSettings) -> Serve:
    name_process(f"shard {settings.name}")
    return partial(ringkv.shard.server.serve, settings)
