"""Child processes that are watched without polling, and never outlive their parent."""

import asyncio
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Final

from cluster.cli import LogStyle, start_logging
from cluster.errors import RingkvError
from cluster.process import Serve, run

log = logging.getLogger("ringkv.supervisor")

STOP_SECONDS: Final = 10.0
"""After this a child that was told to stop is killed: longer than any of them drains."""

Start = Callable[[], Serve]
"""Called in the child, to which it is pickled; what it returns is the child's life."""


class Child:
    """One named child process; `ended` is set to its exit code when it is gone."""

    def __init__(self, context: ForkServerContext, name: str, log_style: LogStyle, start: Start) -> None:
        self.name = name
        self._process: ForkServerProcess = context.Process(
            target=_live, args=(log_style, start), name=name, daemon=True
        )
        self._process.start()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._process.sentinel, self._gone)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not follow."""
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


def _live(log_style: LogStyle, start: Start) -> None:
    """The child: out of reach of the terminal's Ctrl-C, which is the parent's to handle."""
    os.setsid()
    start_logging(log_style)
    try:
        run(partial(_until_orphaned, start()))
    except RingkvError as error:
        log.error("%s: %s", multiprocessing.current_process().name, error)
        sys.exit(1)


async def _until_orphaned(serve: Serve, stop: asyncio.Event) -> None:
    """Stop also when the parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent.sentinel)
        stop.set()

    loop.add_reader(parent.sentinel, orphaned)
    await serve(stop)
