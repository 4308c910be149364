"""Begin anew without closing a port: the process executes its command again, and keeps its listening sockets.

    SIGHUP ──► answer what is on its way ──► execve: same process id, new code and libraries ──► take over, accept

Clients that connect in between wait in the sockets' queues instead of being refused. As the process id stays the same,
whatever watches the process, be it systemd, a shell or a container's init, sees no end.
"""

import atexit
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

log = logging.getLogger("ringkv.process")

VARIABLE: Final = "RINGKV_HANDED_OVER"
"""`PID:DESCRIPTOR,…`: by the id a child, which inherits the environment, knows that the sockets are not for it."""


def taken_over() -> list[socket.socket]:
    """The sockets that this process has kept from before, in their order; none at its first start."""
    process, _, descriptors = os.environ.pop(VARIABLE, "").partition(":")
    if process != str(os.getpid()):
        return []
    sockets = [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]
    for handed_over in sockets:
        handed_over.set_inheritable(False)
        handed_over.setblocking(False)
    return sockets


def begin_anew(sockets: Sequence[socket.socket]) -> NoReturn:
    """Execute this process's command again, with these sockets."""
    log.info("begins anew; its ports stay open")
    atexit._run_exitfuncs()  # noqa: SLF001 - execve does not, and multiprocessing has a folder to remove
    for handed_over in sockets:
        handed_over.set_inheritable(True)
    os.environ[VARIABLE] = f"{os.getpid()}:{','.join(str(handed_over.fileno()) for handed_over in sockets)}"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what was started before
