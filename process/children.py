"""Child processes that are watched without polling, and never outlive their parent."""

import asyncio
import logging
import multiprocessing
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import ForkServerProcess
from typing import Any, Final

from ringkv.cluster.errors import DatasetOverwritten, RingkvError
from ringkv.process.logs import LogStyle, start_logging
from ringkv.process.pulse import beat, beats
from ringkv.process.run import Serve, run
from ringkv.process.start import name_process

log = logging.getLogger("ringkv.supervisor")

STOP_SECONDS: Final = 10.0
"""Seconds after which a child that was told to stop is killed: longer than any of them takes to drain."""

UNUSABLE_DATASET: Final = 65
"""The exit code, EX_DATAERR of sysexits.h, of a child that cannot serve the dataset it was given: to start it again
would not help."""

LOOK_SECONDS: Final = 1.0
HUNG_LOOKS: Final = 10
"""A child that is watched is killed when it has not come to its event loop from one look to the next for so many of
them. On a machine that is busy, or swaps, an event loop is late by a second or two. Where this process stood still
itself, as when a laptop sleeps, that was one look and not many."""

Start = Callable[[ForkServerProcess], None]
"""How a process is started: by which fork server."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a child does: `serve(*given, stop)` of a module, which its parent, who only starts it, need not import.

    `title` is its name in `ps`. `watched`: nobody else would notice if it hung, and so its parent does.
    """

    title: str
    module: str
    given: tuple[Any, ...]
    watched: bool = False

    def begin(self) -> Serve:
        """In the child: what it is to run."""
        name_process(self.title)
        return partial(import_module(self.module).serve, *self.given)


class Child:
    """One named child process; `ended` is set to its exit code when it is gone.

    `begun`: it is one that is watched, and has come to its event loop, where what could not start ends before that.

    Its sentinel is closed by the server that has forked it: when the child has ended, but also when the server itself
    has, for which a fork that fails is enough. So the kernel is asked too (`_pidfd`).
    """

    def __init__(self, start: Start, name: str, log_style: LogStyle, life: Life) -> None:
        self.name = name
        self.begun = False
        pulse: Connection | None = None
        self._pulse: Connection | None = None
        if life.watched:
            self._pulse, pulse = Pipe(duplex=False)
        self._process = ForkServerProcess(target=_live, args=(log_style, life, pulse), name=name, daemon=True)
        try:
            start(self._process)
        finally:
            if pulse is not None:
                pulse.close()
        self._pidfd: int | None = None
        with suppress(OSError):  # it has ended already, or there is no room for another file: the sentinel has to do
            self._pidfd = os.pidfd_open(self.pid)
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._process.sentinel, self._gone)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def end(self) -> int:
        """Wait for its end, and bring that about if it is watched and hangs. Returns the exit code."""
        # Before its first beat it may be starting for as long as that takes.
        missed = 0
        while self._pulse is not None and not self.ended.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await asyncio.shield(self.ended)
            if self.ended.done():
                break
            if beats(self._pulse):
                missed, self.begun = 0, True
            elif self.begun:
                missed += 1
            if missed == HUNG_LOOKS:
                log.error("%s has done nothing for %.0f s and is killed", self.name, HUNG_LOOKS * LOOK_SECONDS)
                self._send(signal.SIGKILL)
                break
        return await asyncio.shield(self.ended)

    def hang_up(self) -> None:
        """Send SIGHUP: files are to be read again."""
        if not self.ended.done():
            self._send(signal.SIGHUP)

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the child has not ended STOP_SECONDS later."""
        if not self.ended.done():
            self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(self.ended)
        except TimeoutError:
            log.warning("%s did not stop within %.0f s and is killed", self.name, STOP_SECONDS)
            self._send(signal.SIGKILL)
            await self.ended

    def _send(self, number: signal.Signals) -> None:
        """Not by the methods of the process, which do nothing once the server that has forked it has ended."""
        with suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def _gone(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        if self._pidfd is not None and not _has_ended(self._pidfd):
            log.warning("the process that has forked %s has ended; %s goes on", self.name, self.name)
            self._loop.add_reader(self._pidfd, self._ended)
        else:
            self._ended()

    def _ended(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._process.join()
        if self._pulse is not None:
            self.begun = self.begun or beats(self._pulse)
            self._pulse.close()
        self.ended.set_result(self._process.exitcode or 0)


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _live(log_style: LogStyle, life: Life, pulse: Connection | None) -> None:
    """Run in the child, in a session of its own: Ctrl-C at the terminal reaches the parent alone, which stops it."""
    os.setsid()
    start_logging(log_style)
    try:
        run(partial(_until_orphaned, life.begin(), pulse))
    except DatasetOverwritten as error:
        # All shards that serve the dataset find the same: the parent says it once.
        log.info("%s: %s", multiprocessing.current_process().name, error)
        sys.exit(UNUSABLE_DATASET)
    except RingkvError as error:
        log.error("%s: %s", multiprocessing.current_process().name, error)
        sys.exit(1)


async def _until_orphaned(serve: Serve, pulse: Connection | None, stop: asyncio.Event) -> None:
    """Serve until told to stop, or until the parent has ended for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent.sentinel)
        stop.set()

    loop.add_reader(parent.sentinel, orphaned)
    beating = loop.create_task(beat(pulse)) if pulse is not None else None
    try:
        await serve(stop)
    finally:
        if beating is not None:
            beating.cancel()
