"""Gathers what all workers of a router have to tell: whichever of them is asked answers for all.

    worker 1 ──► its figures, in a file ──┐
    worker 2 ──► its figures, in a file ──┴──► whichever is asked ──► sum

A file, and not a question to the other worker: what a worker has done must not be forgotten while it hangs, nor
when it dies. Its next life goes on counting where the last one was.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cluster.lag import LoopLag
from router.controller import Controller
from router.figures import Figures, add, own_figures, past
from router.lookup import Lookups

WRITE_INTERVAL: Final = 0.5
"""Seconds between two writes: figures of the other workers are at most that old."""


class Reporter:
    """`file` is where this worker tells its figures, `others` where the other ones do; one that is alone has none."""

    def __init__(
        self, lookups: Lookups, controller: Controller, file: Path | None = None, others: tuple[Path, ...] = ()
    ) -> None:
        self._lookups = lookups
        self._controller = controller
        self._file = file
        self._others = others
        self._lag = LoopLag()
        before = _read(file) if file is not None else None
        self._past = past(before) if before is not None else None

    def own(self) -> Figures:
        """Those of this worker, and of those that it replaced."""
        own = own_figures(self._lookups, self._controller, self._lag.seconds)
        return own if self._past is None else add(own, self._past)

    def all(self) -> Figures:
        """Those of all workers: the state as this one sees it, and what all of them have done."""
        # Written before it is told: what the others tell of this worker later is never less.
        figures = self._write()
        for path in self._others:
            other = _read(path)
            if other is not None:
                figures = add(figures, other)
        return figures

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Measure how late the loop is, and keep the file up to date."""
        tasks = [asyncio.create_task(self._lag.watch())]
        if self._file is not None:
            tasks.append(asyncio.create_task(self._keep_writing()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._write()

    async def _keep_writing(self) -> None:
        while True:
            self._write()
            await asyncio.sleep(WRITE_INTERVAL)

    def _write(self) -> Figures:
        figures = self.own()
        if self._file is not None:
            # Whoever reads sees the old file or the new one.
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(asdict(figures)))
            new.replace(self._file)
        return figures


def _read(file: Path) -> Figures | None:
    """What a worker has told; None where it has not yet."""
    try:
        return Figures.parse(json.loads(file.read_text()))
    except FileNotFoundError:
        return None
