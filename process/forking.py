"""Processes that share one import of the code: forked from a server that has done nothing else.

A fork of a running process would copy the locks that its threads hold; a fresh process would take half a
second to import everything again, and keep a copy of its own in memory.
"""

import multiprocessing
import signal
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from typing import Final

from ringkv.cluster.errors import StartupError

CHILDREN: Final = (
    "ringkv.process.patient",
    "ringkv.process.rootless",
    "ringkv.process.children",
    "multiprocessing.popen_forkserver",
    "importlib.readers",  # with which a router finds the files of its page
)
"""Modules that a supervisor's children need: what is not imported before the fork, each of them imports by itself."""


def fork_server(*preload: str) -> ForkServerContext:
    """The fork server of this process, started at the first call, which says what modules it imports: `preload`.

    A command calls this before it imports what it needs itself, so that both imports go on at the same time.
    """
    context = multiprocessing.get_context("forkserver")
    if preload:  # else it imports what it did, also when it has to be started again
        context.set_forkserver_preload(["__main__", *preload])
    # The server inherits the mask: Ctrl-C, which reaches it too, is for this process to act on. The resource
    # tracker, which the server would start, sets and clears the same mask, and so it comes first.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise StartupError(
            f"cannot start worker processes: {error.strerror or error}; they need a folder for sockets ($TMPDIR)"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return context
