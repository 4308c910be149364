"""Child processes that are watched without polling, and never outlive their parent."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from typing import Any, Final

from ringkv.cluster.errors import DatasetOverwritten, RingkvError
from ringkv.process.logs import LogStyle, start_logging
from ringkv.process.run import Serve, run
from ringkv.process.start import name_process

log = logging.getLogger("ringkv.supervisor")

STOP_SECONDS: Final = 10.0
"""Seconds after which a child that was told to stop is killed: longer than any of them takes to drain."""

UNUSABLE_DATASET: Final = 65
"""The exit code, EX_DATAERR of sysexits.h, of a child that cannot serve the dataset it was given: to start it again
would not help."""

Start = Callable[[ForkServerProcess], None]
"""How a process is started: by which fork server."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a child does: `serve(*given, stop)` of a module, which its parent, who only starts it, need not import.

    `title` is its name in `ps`.
    """

    title: str
    module: str
    given: tuple[Any, ...]

    def begin(self) -> Serve:
        """In the child: what it is to run."""
        name_process(self.title)
        return partial(import_module(self.module).serve, *self.given)


class Child:
    """One named child process; `ended` is set to its exit code when it is gone."""

    def __init__(self, start: Start, name: str, log_style: LogStyle, life: Life) -> None:
        self.name = name
        self._process = ForkServerProcess(target=_live, args=(log_style, life), name=name, daemon=True)
        start(self._process)
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._process.sentinel, self._gone)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def hang_up(self) -> None:
        """Send SIGHUP: files are to be read again."""
        if not self.ended.done():
            os.kill(self.pid, signal.SIGHUP)

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the child has not ended STOP_SECONDS later."""
        if not self.ended.done():
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(self.ended)
        except TimeoutError:
            log.warning("%s did not stop within %.0f s and is killed", self.name, STOP_SECONDS)
            self._process.kill()
            await self.ended

    def _gone(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self.ended.set_result(self._process.exitcode or 0)


def _live(log_style: LogStyle, life: Life) -> None:
    """Run in the child, in a session of its own: Ctrl-C at the terminal reaches the parent alone, which stops it."""
    os.setsid()
    start_logging(log_style)
    try:
        run(partial(_until_orphaned, life.begin()))
    except DatasetOverwritten as error:
        # All shards that serve the dataset find the same: the parent says it once.
        log.info("%s: %s", multiprocessing.current_process().name, error)
        sys.exit(UNUSABLE_DATASET)
    except RingkvError as error:
        log.error("%s: %s", multiprocessing.current_process().name, error)
        sys.exit(1)


async def _until_orphaned(serve: Serve, stop: asyncio.Event) -> None:
    """Serve until told to stop, or until the parent has ended for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent.sentinel)
        stop.set()

    loop.add_reader(parent.sentinel, orphaned)
    await serve(stop)
