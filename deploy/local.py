"""The embedded cluster: shards and a router as processes of this machine, kept alive, stopped together.

supervisor ─┬─ shard-1 … shard-N     on Unix sockets in a folder of their own, which follow a catalog
            ├─ router, or several   on the one port that clients need to know
            └─ following            makes the next version of what the data have become
"""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, NamedTuple

from ringkv.cluster.errors import DatasetOverwritten, NotServed
from ringkv.cluster.limits import GATE
from ringkv.dataset.catalog import Catalog, Version
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.segment import LOOK_SECONDS
from ringkv.deploy.following import Following, Given
from ringkv.deploy.versions import OwnVersions
from ringkv.process.access import EVERYBODY, AccessFiles
from ringkv.process.address import Address
from ringkv.process.budget import memory_of
from ringkv.process.children import Life
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from ringkv.process.forking import ForkServer
from ringkv.process.logs import LogStyle
from ringkv.process.supervisor import Supervisor
from ringkv.process.temporary import temporary_folder
from ringkv.router.policy import HOT_MEMORY, HOT_OWNERS
from ringkv.router.settings import Cluster, Discovery, RouterSettings, Worker
from ringkv.router.workers import lives
from ringkv.shard.settings import WARM_RATE, Direct, Followed, ShardSettings

log = logging.getLogger("ringkv.deploy")

READY_POLL: Final = 0.01
"""Seconds between two questions to a router that answers that it is not ready yet."""

SERVED_SECONDS: Final = 60.0
"""Seconds to wait for the router to serve a new version, before it is logged what holds that up."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`served` is an open dataset, or the location of a catalog, which shards follow by themselves."""

    served: Dataset | str
    shards: int
    replicas: int
    log_style: LogStyle
    cors: str | None = None
    warm_rate: int = WARM_RATE
    gate: float = GATE
    given: Given | None = None  # where the dataset came from; None: it stays what is served
    cache: Path | None = None
    nodes: tuple[Address, ...] = ()  # of the shards, for clients of a Redis Cluster, if they may come
    limits: ConnectionLimits = DEFAULT_LIMITS
    access: AccessFiles = EVERYBODY  # to the router
    hot_memory: int = HOT_MEMORY
    hot_owners: int = HOT_OWNERS


class Routers(NamedTuple):
    """The processes of the router: what each has for itself, and the server that forks them."""

    workers: Sequence[Worker]
    server: ForkServer


async def serve(settings: LocalSettings, routers: Routers, stop: asyncio.Event) -> None:
    """Run the cluster until `stop`. Prints one line when the first GET will succeed, and one for each new version.

    Raises StartupError, CatalogError, and DatasetOverwritten when a segment of what is served is overwritten.
    """
    with temporary_folder() as runtime, ExitStack() as open_datasets:
        supervisor = Supervisor(settings.log_style)
        own = None
        if isinstance(settings.served, Dataset):
            own = OwnVersions(runtime, settings.served)
            open_datasets.callback(own.close)
        http = Address.of(routers.workers[0].http)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.hang_up)
        try:
            # The catalog that it makes for itself ends with it: the next start must not begin with that.
            source = Followed(own.location) if own else Followed(str(settings.served), settings.cache)
            _start(supervisor, settings, source, routers, runtime)
            if await _ready(supervisor, http, stop):
                _say(f"ringkv: ready on {_where(routers.workers[0], settings.nodes)}")
            meanwhile: list[Coroutine[Any, Any, Any]] = [stop.wait()]
            if own is not None:
                meanwhile += [_cut_off(own), _follow(own, settings, http, supervisor)]
            await _first(supervisor.failed, *meanwhile)
        except DatasetOverwritten as error:
            if own is None:
                raise
            # Which segment it was shows its size, or else it is the one that was written to last.
            changed = max(own.newest.segments, key=lambda segment: segment.look().changed)
            raise changed.changed("a shard has read other bytes than before") from error
        finally:
            await supervisor.stop()


def _start(supervisor: Supervisor, settings: LocalSettings, source: Followed, routers: Routers, runtime: Path) -> None:
    addresses = {f"shard-{n}": Address(f"{runtime}/shard-{n}.sock", None) for n in range(1, settings.shards + 1)}
    nodes = settings.nodes or settings.shards * (None,)
    limits = replace(settings.limits, memory=memory_of(settings.limits.memory, settings.shards + len(routers.workers)))
    supervisor.keep(
        {
            name: Life(
                f"shard {name}",
                "ringkv.shard.server",
                (
                    ShardSettings(
                        source,
                        name,
                        address,
                        leased=True,
                        warm_rate=settings.warm_rate,
                        limits=limits,
                        direct=Direct(node, node) if node else None,
                    ),
                ),
            )
            for (name, address), node in zip(addresses.items(), nodes, strict=True)
        },
        ForkServerProcess.start,
    )
    discovery = Discovery(frozenset(addresses.values()))
    cluster = Cluster(discovery, settings.replicas, gate=settings.gate, hot_owners=settings.hot_owners)
    router = RouterSettings(
        cluster,
        cors=settings.cors,
        limits=limits,
        access=settings.access,
        hot_memory=settings.hot_memory,
    )
    supervisor.keep(lives(router, routers.workers, runtime), routers.server.start)


async def _follow(own: OwnVersions, settings: LocalSettings, http: Address, supervisor: Supervisor) -> None:
    """Make a new version whenever the data are replaced, if they are to be followed. Runs until cancelled."""
    if settings.given is None:
        await asyncio.Event().wait()
        return

    async def take(dataset: Dataset) -> None:
        version = await asyncio.to_thread(own.take, dataset, settings.gate)
        if version is not None:
            await _tell(http, own.catalog, version, dataset.manifest.keys)

    def hang_up() -> None:
        supervisor.hang_up()
        following.ask()

    following = Following(settings.given, take)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    await following.run()


async def _tell(http: Address, catalog: Catalog, version: Version, keys: int) -> None:
    """Print that the router serves the version, or log why it does not."""
    from ringkv.dataset.awaited import wait_until_served  # noqa: PLC0415 - it takes a while, and a start needs it not

    try:
        url = f"http://{_reachable(http)}"
        await asyncio.to_thread(wait_until_served, url, catalog, version, SERVED_SECONDS, if_up=False)
    except NotServed as error:
        log.error("%s", error)
        return
    _say(f"ringkv: version {version.serial} is served: {keys:,} keys, dataset {version.dataset}")


def _say(line: str) -> None:
    """Print one of the command's answers. That nobody reads it any more, or a disk is full, ends no cluster."""
    try:
        print(line, flush=True)  # noqa: T201
    except OSError as error:
        from ringkv.client.get import forget_output  # noqa: PLC0415 - it has much that a start needs not

        forget_output()
        log.warning("standard output: %s; not written: %s", error.strerror or error, line)


def _where(worker: Worker, nodes: Sequence[Address]) -> str:
    redis = f", redis://{Address.of(worker.redis)}" if worker.redis else ""
    cluster = f", Redis Cluster {nodes[0]}" if nodes else ""  # any node tells the others
    return f"http://{Address.of(worker.http)}{redis}{cluster}"


async def _ready(supervisor: Supervisor, http: Address, stop: asyncio.Event) -> bool:
    """Wait until the router has a topology; False if `stop` was set first. Raises as `Supervisor.failed` does."""
    await _first(supervisor.failed, _answers(http), stop.wait())
    supervisor.settled = not stop.is_set()
    return supervisor.settled


async def _first(failed: asyncio.Future[None], *waits: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of them has ended, cancel the others, and raise what it raises."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    first: set[asyncio.Future[Any]] = {failed, *tasks}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    ended = [each for each in first if each.done()]
    for task in tasks:
        task.cancel()
    for each in ended:
        each.result()


async def _cut_off(own: OwnVersions) -> None:
    """Run as long as all segments of what is served have their sizes. Raises DatasetOverwritten.

    The shards notice that too, and more. But a shard that reads behind the end of a file before it has noticed is
    killed, and its successors would be as well.
    """
    while True:
        for segment in own.newest.segments:
            segment.look()
        await asyncio.sleep(LOOK_SECONDS)


async def _answers(http: Address) -> None:
    """Wait until the router says that it is ready. Its socket was there before it: who comes too early waits there."""
    here = _reachable(http)
    while True:
        try:
            reader, writer = await asyncio.open_connection(here.host, here.port)
            try:
                # All of HTTP that this takes; a client for it would take longer to import than to ask.
                writer.write(f"GET /readyz HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
        except OSError:
            status = b""
        if status.startswith(b"HTTP/1.1 200 "):
            return
        await asyncio.sleep(READY_POLL)


def _reachable(http: Address) -> Address:
    """Where the router answers this machine."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    return Address(loopback, http.port)
