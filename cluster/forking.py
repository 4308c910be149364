"""Processes that share one import of the code: forked from a server that has done nothing else.

A fork of a running process would copy the locks that its threads hold; a fresh process would take half a
second to import everything again, and keep a copy of its own in memory.
"""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from cluster.errors import StartupError


def fork_server(*preload: str) -> ForkServerContext:
    """The fork server of this process, started at the first call; from then on it imports the modules `preload`.

    A command calls this before it imports them itself, so that both imports go on at the same time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise StartupError(
            f"cannot start worker processes: {error.strerror or error}; they need a folder for sockets ($TMPDIR)"
        ) from error
    return context
