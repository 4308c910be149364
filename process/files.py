"""How many files a process may have open, each connection being one: as many as the system allows."""

import asyncio
import errno
import logging
import os
import resource
from typing import Final

from ringkv.cluster.errors import StartupError

log = logging.getLogger("ringkv.process")

NEEDED: Final = 64
"""What a process has open without a single client is 20 to 30: libraries, sockets, pipes to its children, links."""

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks whether a file can be opened."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one: it is low for the sake of select(), which is not used here.

    Raises StartupError where that is not enough to start with.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        raise StartupError(
            f"this process may open only {hard} files, and needs {NEEDED} and one for each client: "
            f"raise the limit with `ulimit -n`, or LimitNOFILE= in systemd"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def watch_files() -> None:
    """Log when no file can be opened any more, and when that is over. Runs until cancelled.

    The event loop, which accepts connections, says nothing: it just closes those for which there is no file.
    """
    clock = asyncio.get_running_loop().time
    since: float | None = None
    while True:
        await asyncio.sleep(LOOK_INTERVAL)
        if _are_out():
            if since is None:
                since = clock()
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                log.warning("all %d files that may be open are open: new connections are closed", limit)
        elif since is not None:
            log.warning("files can be opened again after %.1f s", clock() - since)
            since = None


def _are_out() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return False
