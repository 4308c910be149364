"""Tasks handed to processes or threads in order, so few at a time that memory stays bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from itertools import chain, islice
from multiprocessing.process import BaseProcess
from typing import Final, TypeVar

from ringkv.process.forking import fork_server

Task = TypeVar("Task")
Result = TypeVar("Result")

PRELOAD: Final = "ringkv.dataset.packing.local", "pyarrow.compute"
"""Modules that workers need. Arrow would load the second one when it takes items from an array for the first time."""

AHEAD: Final = 2
"""Tasks under way for each worker: one that it does, and one to go on with while its result is taken."""


def worker_pool(workers: int) -> Executor:
    """A pool of processes that end with this one, even if it is killed; for one worker, a thread of this process."""
    if workers == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, fork_server(*PRELOAD), initializer=_end_with_parent)


def in_order(
    workers: Callable[[], Executor], function: Callable[[Task], Result], tasks: Iterable[Task], count: int
) -> Generator[Result, None, None]:
    """The results of `function` for all tasks, in their order. A single task needs no workers: it is done right here.

    `count` is how many workers `workers` makes. Tasks are taken from `tasks` only as there is room for them. Once the
    generator is closed, no task is running.
    """
    coming = iter(tasks)
    first = list(islice(coming, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    executor = workers()
    waiting: deque[Future[Result]] = deque()
    try:
        for task in chain(first, coming):
            waiting.append(executor.submit(function, task))
            if len(waiting) >= AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)


def _end_with_parent() -> None:
    # Ctrl-C reaches the whole group of processes; the parent alone acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
