"""The event loop of every ringkv process: uvloop's, with threads that one more which cannot be started does not fail.

    a call ──► a thread is free, or one more is started ──► done there
                 └─ no room for another ──► one of those that there are, later
                                              └─ there are none ──► at once, and all others wait

Who asks for a thread would get RuntimeError where the system, or a limit on processes, has no room for one, and the
call would be lost: a process that serves would end, and would not be able to start.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty
from typing import Any

import uvloop


class Threads(ThreadPoolExecutor):
    """Calls are to be submitted by one thread, that of the event loop."""

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the base class, but always done. It queues the call before it looks for a thread."""
        submitted = super().submit(call, *args, **kwargs)
        if not self._threads:
            # Not under the locks of `submit`: the call may have threads of its own to start.
            with suppress(Empty):
                self._work_queue.get_nowait().run()
        return submitted

    def _adjust_thread_count(self) -> None:
        with suppress(RuntimeError):
            super()._adjust_thread_count()


class EventLoop(uvloop.Loop):
    def __init__(self) -> None:
        super().__init__()
        self._threads = Threads()
        self.set_default_executor(self._threads)

    async def shutdown_default_executor(self, _timeout: float | None = None) -> None:
        """Wait for the threads, without the further one that the base class starts for that."""
        self._threads.shutdown()
