"""How a shard finds its own name. The name decides which partitions it owns; its address plays no part in that."""

import socket

from ringkv.cluster.errors import StartupError
from ringkv.cluster.told import is_name


def checked(name: str) -> str:
    """A name that can stand in a LEASE command, an INFO line and a log. Raises StartupError."""
    if not is_name(name):
        raise StartupError(f"not a shard's name: {name[:60]!r}; use letters, digits, dots, dashes and underscores")
    return name


def default_name() -> str:
    """The reverse DNS name of this host's own address without the domain, else the host name.

    Compose and Swarm answer `ringkv-shard-3`, a Kubernetes StatefulSet `shard-3`: names that stay with a
    shard when it comes back with another address, as a container's host name does not.
    """
    host = socket.gethostname()
    try:
        return socket.gethostbyaddr(socket.gethostbyname(host))[0].split(".")[0]
    except OSError:
        return host
