"""How a shard finds its own name, and the address that it announces. Only the name decides which partitions it owns."""

import socket

from ringkv.cluster.errors import InvalidAddress, StartupError
from ringkv.cluster.told import is_host, is_name
from ringkv.process.address import Address


def checked(name: str) -> str:
    """A name that can stand in a LEASE command, an INFO line and a log. Raises StartupError."""
    if not is_name(name):
        raise StartupError(f"not a shard's name: {name[:60]!r}; use letters, digits, dots, dashes and underscores")
    return name


def announced(text: str) -> Address:
    """Where clients reach this host: `host:port`, or a port alone for the host's own address. Raises StartupError."""
    try:
        address = Address.parse(text if ":" in text else f"{socket.gethostbyname(socket.gethostname())}:{text}")
    except InvalidAddress as error:
        raise StartupError(f"--announce: {error}, or a port alone") from error
    except OSError as error:
        raise StartupError(f"--announce {text}: this host cannot find its own address: use host:port") from error
    if not address.port or not is_host(address.host) or address.host in {"0.0.0.0", "::"}:
        raise StartupError(f"--announce {text}: clients cannot connect to that; use host:port as they see it")
    return address


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
