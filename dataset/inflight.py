"""Work handed to other processes in order, and only so much of it at a time that memory stays bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from multiprocessing.process import BaseProcess
from typing import Final, TypeVar

from cluster.forking import fork_server

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD: Final = 2
"""Tasks a processor: one to do, and one to go on with while the results are taken."""


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that end with this one, also if it is killed."""
    return ProcessPoolExecutor(workers, fork_server("dataset.pack"), initializer=_end_with_parent)


def in_order(
    executor: Executor | None, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result, None, None]:
    """The results of `function` for all tasks, in their order; without an executor they are done right here.

    A task is taken from `tasks` when there is room for it. When the generator is closed, no task runs on.
    """
    if executor is None:
        yield from map(function, tasks)
        return
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(function, task))
            if len(waiting) >= AHEAD * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _end_with_parent() -> None:
    # Ctrl-C reaches the whole group of processes; what it means is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
