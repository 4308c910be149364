"""How a shard finds its own name, which decides what it owns; its address never does."""

import socket


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
