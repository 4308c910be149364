"""Several processes that are one router: they share the ports, and each of them tells the figures of all.

clients ──► one port ─┬─► worker 1 ──┬──► shards       each with its own event loop, links and topology
                      └─► worker 2 ──┘
"""

import asyncio
import multiprocessing
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ringkv.process.address import Address, bind_shared
from ringkv.process.children import Start
from ringkv.process.forking import fork_server
from ringkv.process.logs import LogStyle
from ringkv.process.run import Serve
from ringkv.process.start import name_process
from ringkv.process.supervisor import Supervisor
from ringkv.router.server import RouterSettings, Worker, serve


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


def parts(settings: RouterSettings, workers: Sequence[Worker], runtime: Path) -> dict[str, Start]:
    """For a supervisor, by name: a process for each worker; they exchange figures through the folder `runtime`.

    Their sockets stay open in the process that made them: while a worker is started again, the clients that
    came to its socket wait instead of being refused.
    """
    if len(workers) == 1:
        return {"router": partial(_worker, settings, workers[0])}
    paths = [runtime / f"router-{number}.json" for number, _ in enumerate(workers, 1)]
    return {
        path.stem: partial(_worker, settings, replace(worker, figures=path, others=_without(paths, path)))
        for path, worker in zip(paths, workers, strict=True)
    }


async def serve_workers(
    settings: RouterSettings, workers: Sequence[Worker], log_style: LogStyle, stop: asyncio.Event
) -> None:
    """Keep the workers alive until `stop`. Raises StartupError."""
    with tempfile.TemporaryDirectory(prefix="ringkv-") as runtime:
        supervisor = Supervisor(fork_server("ringkv.router.server"), log_style)
        supervisor.keep(parts(settings, workers, Path(runtime)))
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


def _worker(settings: RouterSettings, worker: Worker) -> Serve:
    name_process(multiprocessing.current_process().name)
    return partial(serve, settings, worker)
