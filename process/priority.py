"""Work that can wait steps aside for whatever answers somebody on the same machine."""

import os
import time
from contextlib import suppress
from typing import Final

NICENESS: Final = 10
"""For packing and uploading: where processors are short it gets a tenth of what a server gets, and whatever is idle."""

STRETCH: Final = 0.0005
"""Seconds of work between two moments at which another process may go first. The kernel itself looks only at each tick,
up to 4 ms, and a request waits for several processes. With much shorter stretches the work would give all of its share
away: beside a process that always has something to do nothing would be left of that tenth."""


def step_aside() -> None:
    """Lower the priority of this thread and of all threads and processes that it begins, unless it is lower already."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Stretches:
    """Cuts work that can wait into short stretches; each thread has one of its own."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + STRETCH

    def give_way(self) -> None:
        """Let other processes go first, if this stretch is over. To be called every few microseconds of the work."""
        if time.perf_counter() >= self._until:
            os.sched_yield()
            self._until = time.perf_counter() + STRETCH
