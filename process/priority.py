"""Who gets a processor first: event loops, which answer clients, before work on the same machine that can wait."""

import ctypes
import os
import platform
import struct
import sys
import time
from contextlib import suppress
from typing import Final

NICENESS: Final = 10
"""For packing and uploading: where processors are short it gets a tenth of what a server gets, and whatever is idle."""

STRETCH: Final = 0.0005
"""Seconds of work between two moments at which another process may go first. The kernel itself looks only at each tick,
up to 4 ms, and a request waits for several processes. With much shorter stretches the work would give all of its share
away: beside a process that always has something to do nothing would be left of that tenth."""

SHORTER: Final = 15 / 16
"""What an event loop asks for of the usual slice, the time for which a thread may have a processor. Linux, from version
6.12 on, lets a thread with a shorter slice go before those with longer ones when it wakes up, within its fair share;
else it may have to wait until their slices end, which Linux looks at only at each tick, up to 4 ms. The shortest slices
that there are would make loops interrupt each other: with 0.1 ms, 16 clients get 6 % fewer answers a second."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""The system call's number; C libraries have no function for it until glibc 2.41. `sched_getattr` has the next."""

_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""Linux's `struct sched_attr`: its size, policy, flags, niceness, priority, and runtime, deadline and period."""

_RESET_ON_FORK: Final = 1


def go_first() -> None:
    """Let this thread, but no threads or processes that it begins, go first when it wakes up, where the system can.

    To be called once in a thread.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    call = ctypes.CDLL(None).syscall
    told = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if call(number + 1, 0, told, _ATTRIBUTES.size, 0) != 0:
        return
    _, _, _, niceness, _, usual, _, _ = _ATTRIBUTES.unpack(told.raw)
    if usual:  # not where the system is older
        asked = (_ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, niceness, 0, int(SHORTER * usual), 0, 0)
        # Where it is refused, by a sandbox, nothing has changed.
        call(number, 0, _ATTRIBUTES.pack(*asked), 0)


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
