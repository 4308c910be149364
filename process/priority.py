"""Work that can wait steps aside for whatever answers somebody on the same machine."""

import os
from contextlib import suppress
from typing import Final

NICENESS: Final = 10
"""Of what packs and uploads: where processors are short it gets a tenth of what a server gets, and all that is left."""


def step_aside() -> None:
    """Lower the priority of this thread and of all threads and processes that it begins, unless it is lower already."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
