"""Connections that begin with a TLS handshake, by the context that counts when they come.

    TCP ──► (header of a proxy) ──► handshake ──► protocol, as if there had been none
                                        │ guarded as any client is that owes its first request
                                        ▼
                                     too late, or there is no place: closed

A listening socket that is given a context would have one for all its life, shake hands with more clients than there are
places, and not know what a proxy sends in front of it.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

from ringkv.process.connections import NEVER, ConnectionGuard
from ringkv.process.preamble import Preamble
from ringkv.process.proxied import as_told, told
from ringkv.process.tls import ServerTls

log = logging.getLogger("ringkv.process")

UNREAD: Final = 16 << 10
"""Bytes kept of a client who is not read from: a record of TLS. By default they are 256 KiB, which nobody counts."""

CLOSE_SECONDS: Final = 5.0
"""Seconds that a client has to answer the end of a TLS connection."""


class _Buffering(Protocol):
    """What a transport of TLS has beside others: it reads ahead."""

    def set_read_buffer_limits(self, high: int) -> None:
        """Let the peer wait when so many bytes have not been taken."""


class Secured(Preamble):
    """Does the handshake, then lets `protocol()` take the connection over; on a Unix socket at once, without TLS."""

    def __init__(self, tls: ServerTls, guard: ConnectionGuard, protocol: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(guard)
        self._tls = tls
        self._protocol = protocol
        self._data = b""  # what came before the handshake began
        self._taken: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._peer = told(transport)
        if self._transport.get_extra_info("socket").family == socket.AF_UNIX:
            self._hand_over(self._transport)
            return
        self._guard.admit(self, transport.get_extra_info("peername"))
        if not self._transport.is_closing():
            self._handshake = asyncio.create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        if self._taken is not None:
            self._taken.data_received(data)
        else:
            self._data += data

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._transport.is_closing():
                return
            handshake: Awaitable[asyncio.Transport | None] = loop.start_tls(
                self._transport,
                self,
                self._tls.context,
                server_side=True,
                ssl_handshake_timeout=NEVER,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
            if self._data:
                # It is fed to the handshake first of all, once that has begun, which takes a turn of the loop.
                self._transport.pause_reading()
                handshake = asyncio.ensure_future(handshake)
                loop.call_soon(loop.call_soon, self._feed, self._data)
                self._data = b""
            secured = await handshake
        except OSError as error:
            log.debug("no TLS with %s: %s", self._peer, error)
            self._transport.abort()
            return
        finally:
            self._guard.leave(self)
        if secured is not None and not secured.is_closing():
            cast("_Buffering", secured).set_read_buffer_limits(UNREAD)
            self._hand_over(secured)

    def _feed(self, data: bytes) -> None:
        """Give the handshake what came in one piece with the header of a proxy."""
        tls = cast("asyncio.BufferedProtocol", self._transport.get_protocol())
        while data:
            room = memoryview(tls.get_buffer(len(data)))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            tls.buffer_updated(size)
            data = data[size:]

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._taken = protocol = self._protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(as_told(transport, self._peer))
        if self._data:
            protocol.data_received(self._data)
