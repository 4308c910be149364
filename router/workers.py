"""Several processes that are one router: they share the ports, and whichever is asked tells the figures of all.

clients ──► one port ─┬─► worker 1 ──┬──► shards       each with its own event loop, links and topology
                      └─► worker 2 ──┘
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.address import Address, bind_shared
from cluster.children import Start
from cluster.cli import LogStyle
from cluster.forking import fork_server
from cluster.process import Serve
from cluster.supervisor import Supervisor
from router.server import RouterSettings, Worker, serve


def bind_workers(count: int, http: Address, redis: Address | None) -> list[Worker]:
    """The listening sockets of so many workers. Raises StartupError."""
    redis_sockets = bind_shared(redis, count) if redis is not None else count * [None]
    return [Worker(*sockets) for sockets in zip(bind_shared(http, count), redis_sockets, strict=True)]


def parts(settings: RouterSettings, workers: Sequence[Worker], runtime: Path) -> dict[str, Start]:
    """What a supervisor keeps alive: one process a worker, which find each other in the folder `runtime`.

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
        supervisor = Supervisor(fork_server("router.server"), log_style)
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
    return partial(serve, settings, worker)
