"""Several processes that are one router: they share the ports, and each of them tells the figures of all.

clients ──► one port ─┬─► worker 1 ──┬──► shards       each with its own event loop, links and topology
                      └─► worker 2 ──┘
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from ringkv.process.address import Address, bind_shared
from ringkv.process.children import Life
from ringkv.process.forking import CHILDREN, fork_server
from ringkv.process.logs import LogStyle
from ringkv.process.supervisor import Supervisor
from ringkv.process.temporary import temporary_folder
from ringkv.router.settings import RouterSettings, Worker

MODULE: Final = "ringkv.router.server"
"""A worker's code."""

PRELOAD: Final = (
    *CHILDREN,
    "ringkv.process.rootless",
    MODULE,
    "importlib.readers",  # with which a router finds the files of its page
)
"""What the fork server of workers imports."""


def bind_workers(
    count: int,
    http: Address,
    redis: Address | None,
    admin: Address | None = None,
    taken_over: Sequence[socket.socket] = (),
) -> list[Worker]:
    """`count` workers with their listening sockets: those that were taken over, else new ones. Raises StartupError."""
    kept = iter(taken_over)

    def bound(address: Address) -> list[socket.socket]:
        return list(islice(kept, count)) if taken_over else bind_shared(address, count)

    readers = bound(http)
    nowhere: list[socket.socket | None] = [None] * count
    redis_sockets = nowhere if redis is None else bound(redis)
    admin_sockets = nowhere if admin is None else bound(admin)
    return [Worker(*sockets) for sockets in zip(readers, redis_sockets, admin_sockets, strict=True)]


def duplicates(workers: Sequence[Worker]) -> list[socket.socket]:
    """Duplicates of the workers' sockets, to be taken over when the workers have closed theirs."""
    sockets = [worker.http for worker in workers]
    sockets += [worker.redis for worker in workers if worker.redis]
    sockets += [worker.admin for worker in workers if worker.admin]
    return [listening.dup() for listening in sockets]


def lives(settings: RouterSettings, workers: Sequence[Worker], runtime: Path) -> dict[str, Life]:
    """For a supervisor, by name: a process for each worker; they exchange figures through the folder `runtime`.

    Their sockets stay open in the process that made them: while a worker is started again, the clients that
    came to its socket wait instead of being refused.
    """
    if len(workers) == 1:
        return {"router": Life("router", MODULE, (settings, workers[0]), watched=True)}
    paths = [runtime / f"router-{number}.json" for number, _ in enumerate(workers, 1)]

    def life(path: Path, worker: Worker) -> Life:
        own = replace(worker, figures=path, others=_without(paths, path))
        return Life(path.stem, MODULE, (settings, own), watched=True)

    return {path.stem: life(path, worker) for path, worker in zip(paths, workers, strict=True)}


async def serve_workers(
    settings: RouterSettings, workers: Sequence[Worker], log_style: LogStyle, stop: asyncio.Event
) -> None:
    """Keep the workers alive until `stop`. Raises StartupError."""
    with temporary_folder() as runtime:
        fork_server(*PRELOAD)
        supervisor = Supervisor(log_style)
        supervisor.keep(lives(settings, workers, runtime), ForkServerProcess.start)
        stopping = asyncio.create_task(stop.wait())
        first: set[asyncio.Future[Any]] = {stopping, supervisor.failed}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await supervisor.stop()
        if supervisor.failed.done():
            supervisor.failed.result()


def _without(paths: list[Path], own: Path) -> tuple[Path, ...]:
    return tuple(path for path in paths if path != own)
