"""The pulse of a child process: a byte now and then in a pipe to its parent, as long as its event loop runs."""

import asyncio
import os
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

BEAT_SECONDS: Final = 0.5
"""Seconds between two beats: a parent that looks each second finds one at least, unless the loop is late."""


async def beat(pulse: Connection) -> None:
    """In the child: tell that the event loop runs, until cancelled."""
    os.set_blocking(pulse.fileno(), False)
    while True:
        with suppress(OSError):  # the pipe is full where the parent reads nothing, and broken where it has ended
            os.write(pulse.fileno(), b".")
        await asyncio.sleep(BEAT_SECONDS)


def beats(pulse: Connection) -> bool:
    """In the parent: whether a beat has come since the last look."""
    os.set_blocking(pulse.fileno(), False)
    try:
        return bool(os.read(pulse.fileno(), 65536))
    except BlockingIOError:
        return False
