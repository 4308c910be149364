"""Gathers the figures of all workers of a router: each of them can answer for all.

    worker 1 ──► its figures, in a file ──┐
    worker 2 ──► its figures, in a file ──┴──► whichever is asked ──► sum

They go through files, and are not asked of the other workers, as what a worker has done must not be missing while it
hangs or after it has died. The process that replaces it reads the file and goes on counting from there.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from ringkv.process.connections import ConnectionGuard
from ringkv.process.lag import LoopLag
from ringkv.process.tokens import TokenFile
from ringkv.router.figures.chronicle import Chronicle
from ringkv.router.figures.history import History
from ringkv.router.figures.hottest import HotKeys
from ringkv.router.figures.own import own_figures
from ringkv.router.figures.sheet import Copy, Sheet
from ringkv.router.figures.values import Figures, add, past
from ringkv.router.figures.versions import VersionsSeen, versions_seen
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.policy import REPORT_INTERVAL


class Reporter:
    """The first of `files` is where this worker writes its figures, the others are the other workers'; a single worker
    has none.

    `history` is the last hour of all workers, as this one has seen it; `chronicle` has the events of all, `hottest` the
    keys that are asked for most at all of them. Requests that were refused for their `tokens` are told too.
    """

    def __init__(
        self,
        lookups: Lookups,
        controller: Controller,
        guard: ConnectionGuard,
        files: tuple[Path, ...] = (),
        tokens: TokenFile | None = None,
    ) -> None:
        self._lookups = lookups
        self._controller = controller
        self._guard = guard
        self._tokens = tokens
        file = files[0] if files else None
        self._sheet = Sheet(file) if file is not None else None
        self._others = tuple(map(Copy, files[1:]))
        self._lag = LoopLag()
        self._started = time.monotonic()
        self.history = History(self.all)
        self.chronicle = Chronicle(
            controller.events, _events_of(file) if file is not None else None, tuple(map(_events_of, files[1:]))
        )
        self.hottest = HotKeys(lookups.hot, _hot_of(file) if file is not None else None, tuple(map(_hot_of, files[1:])))
        before = _read(Copy(file)) if file is not None else None
        self._past = past(before) if before is not None else None

    def own(self) -> Figures:
        """The figures of this worker, with the counts of its predecessors."""
        uptime = time.monotonic() - self._started
        own = own_figures(self._lookups, self._controller, self._guard, uptime, self._lag.seconds)
        own.counters["unauthorized"] = self._tokens.refused if self._tokens is not None else 0
        return own if self._past is None else add(own, self._past)

    @property
    def begins(self) -> bool:
        """Whether shards are still being told the first topology, by which they send direct clients to owners."""
        return self._controller.teller.begins

    def versions(self) -> VersionsSeen:
        """Which versions of the data this worker serves and sees."""
        return versions_seen(self._lookups, self._controller)

    def all(self) -> Figures:
        """The figures of all workers: the state as this one sees it, and what all of them have done."""
        # The file is written first, so that another worker that is asked later never shows smaller counts.
        figures = self._write()
        for copy in self._others:
            other = _read(copy)
            if other is not None:
                figures = add(figures, other)
        return figures

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Measure how late the loop is, take samples for the history, and keep the files up to date."""
        tasks = [asyncio.create_task(self._lag.watch()), asyncio.create_task(self.history.keep())]
        if self._sheet is not None:
            tasks.append(asyncio.create_task(self._keep_writing()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._write()
            self.chronicle.write()

    async def _keep_writing(self) -> None:
        while True:
            self._write()
            self.chronicle.write()
            self.hottest.write()
            # All workers write at the same moments, so that in a sample of the history all figures are equally old.
            await asyncio.sleep(REPORT_INTERVAL - time.time() % REPORT_INTERVAL)

    def _write(self) -> Figures:
        figures = self.own()
        if self._sheet is not None:
            self._sheet.write(asdict(figures))
        return figures


def _read(copy: Copy) -> Figures | None:
    """The figures that a worker has written; None if it has not yet."""
    written = copy.read()
    return None if written is None else Figures.parse(written)


def _hot_of(file: Path) -> Path:
    """Where the worker that writes its figures to this file writes its hottest keys."""
    return file.with_suffix(".hot")


def _events_of(file: Path) -> Path:
    """Where the worker that writes its figures to this file writes its events."""
    return file.with_suffix(".events")
