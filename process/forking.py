"""Processes that share one import of the code: forked from a server that has done nothing else.

A fork of a running process would copy the locks that its threads hold; a fresh process would take half a
second to import everything again, and keep a copy of its own in memory. A command that has begun to import, and runs
nothing yet, can be forked itself: then its servers need not import what it has.

    ringkv up ──fork──► ForkServer: imports routers ──────────────────────fork──► router
      │ imports the dataset
      └─────────fork──► fork_server: imports the rest of shards ──────────fork──► shard-1 … shard-N
"""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ringkv.cluster.errors import StartupError
from ringkv.process.start import name_process

CHILDREN: Final = (
    "ringkv.process.patient",
    "ringkv.process.children",
    "multiprocessing.popen_forkserver",
)
"""Modules that a supervisor's children need: what is not imported before the fork, each of them imports by itself."""


def end_by_sigterm() -> None:
    """From here on let SIGTERM end the process at once, but for what is done at any exit.

    A command calls it before it starts a fork server, whose sockets are in a folder that is to be removed. It does so
    without an exception, as those are lost that come while a module is imported and a callback of its lock runs.
    """
    signal.signal(signal.SIGTERM, _exit)


def fork_server(*preload: str) -> ForkServerContext:
    """The fork server of this process, started at the first call, which says what modules it imports: `preload`.

    A command calls this before it imports what it needs itself, so that both imports go on at the same time.
    """
    context = multiprocessing.get_context("forkserver")
    if preload:  # else it imports what it did, also when it has to be started again
        context.set_forkserver_preload(["__main__", *preload])
    _start(forkserver.ensure_running)
    return context


class ForkServer(forkserver.ForkServer):
    """A server beside that of `fork_server`, whose children need other modules than the children of that one."""

    def __init__(self, *preload: str) -> None:
        """Raises StartupError."""
        super().__init__()
        self.set_forkserver_preload(["__main__", *preload])
        _start(self.ensure_running)

    def start(self, process: ForkServerProcess) -> None:
        """Start a process, as a child of this server."""
        with _in_place_of(forkserver, "connect_to_new_process", self.connect_to_new_process):
            process.start()


@contextmanager
def forking() -> Iterator[None]:
    """Let servers that are started in this block be forks of this process, with all that it has imported.

    Only a process that runs no threads of its own may do so. A server keeps no files of it but the standard ones. One
    that has to be started again later, as it was killed, is a process of its own, and imports by itself.
    """
    # Elsewhere a system's own libraries may have threads, and open files are not to be seen.
    with _in_place_of(util, "spawnv_passfds", _fork) if sys.platform == "linux" else nullcontext():
        yield


def _exit(number: int, _frame: FrameType | None) -> None:
    atexit._run_exitfuncs()  # noqa: SLF001 - multiprocessing has a folder to remove
    os._exit(128 + number)


def _start(server: Callable[[], None]) -> None:
    # The server inherits the mask: Ctrl-C, which reaches it too, is for this process to act on. The resource
    # tracker, which the server would start, sets and clears the same mask, and so it comes first.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        server()
    except OSError as error:
        raise StartupError(
            f"cannot start worker processes: {error.strerror or error}; they need a folder for sockets ($TMPDIR)"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _fork(_path: bytes, command: Sequence[str], passed: Sequence[int]) -> int:
    """What multiprocessing.util.spawnv_passfds does for `python -c PROGRAM`, without the start of an interpreter."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as for an interpreter that is started
        os.setsid()  # a signal to the whole group is for the parent to act on, and until then it needs its server
        name_process(command[-1].split()[1])  # from MODULE import …
        for descriptor in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - {0, 1, 2, *passed}:
            with suppress(OSError):  # it was that of the folder
                os.close(descriptor)
        exec(command[-1], {})  # noqa: S102 - a line of multiprocessing's own
        code = 0
    except SystemExit:
        code = 0
    except Exception:  # noqa: BLE001 - there is no one to raise it to
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


@contextmanager
def _in_place_of(module: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """For a while, as multiprocessing itself knows one server, and one way to start it."""
    before = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, before)
