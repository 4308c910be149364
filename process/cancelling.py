"""Tasks that are cancelled leave nothing behind that only the collector of garbage would find.

A task keeps the error by which it has ended until somebody asks for it. Its traceback has the frames of the task's
coroutines, and these refer to the task, to the connection that it was for, and to all that has come on that.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task that nobody waits for."""
    task.cancel()
    forget(task)


def give_up(answers: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for these futures, which are no tasks, no more."""
    for answer in answers:
        if not answer.cancel() and not answer.cancelled():
            answer.exception()  # asked for, as asyncio logs what nobody asks for


def forget(task: asyncio.Task[Any]) -> None:
    """Let go of the error of a task that nobody waits for, if it ends by being cancelled."""
    task.add_done_callback(_forget)


def _forget(ended: asyncio.Task[Any]) -> None:
    if ended.cancelled():
        with suppress(asyncio.CancelledError):
            ended.exception()
