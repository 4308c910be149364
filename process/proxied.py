"""Connections that come through a proxy which tells, before anything else, whom they are from.

Source: "The PROXY protocol, versions 1 & 2", HAProxy. The header is read by a protocol of its own, which then hands the
transport over: what comes afterwards goes straight to whom it is for.
"""

import asyncio
import ipaddress
import logging
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from ringkv.process.connections import ConnectionGuard
from ringkv.process.preamble import Preamble

log = logging.getLogger("ringkv.proxied")

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins; version 1 begins with `PROXY `."""

MAX_HEADER: Final = 16 + 1024
"""Bytes of a header: version 1 has 107 at most, and no proxy sends more than some hundred of version 2."""

PATIENCE: Final = 5.0
"""Seconds in which the header must have come: it is the first segment of a connection, which may be lost once."""

Peer = tuple[str, int]


class Malformed(Exception):
    """What came is no header; `str()` says why."""


def parse(data: bytes) -> tuple[Peer | None, int] | None:
    """Who connected to the proxy, and the length of the header; None as long as that has not come whole.

    The peer is None where the proxy itself connects, for a health check. Raises Malformed.
    """
    if data[:12] == SIGNATURE[: len(data)]:
        return _parse_2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_1(data)
    raise Malformed("it does not begin as a header does")


def _parse_1(data: bytes) -> tuple[Peer | None, int] | None:
    line, end, _ = data[:107].partition(b"\r\n")
    if not end:
        if len(data) >= 107:
            raise Malformed("its line does not end")
        return None
    length = len(line) + 2
    match line.decode("ascii", "replace").split(" "):
        case ["PROXY", "UNKNOWN", *_]:
            return None, length
        case ["PROXY", "TCP4" | "TCP6" as family, source, _, port, _]:
            return _peer(source, port, 4 if family == "TCP4" else 6), length
        case _:
            raise Malformed("its line is not that of version 1")


def _peer(source: str, port: str, version: int) -> Peer:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        raise Malformed(f"{source[:60]!r} is no address") from None
    if address.version != version or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise Malformed("address and port do not fit together")
    return str(address), int(port)


def _parse_2(data: bytes) -> tuple[Peer | None, int] | None:
    if len(data) < 16:
        return None
    version, family, size = struct.unpack("!BBH", data[12:16])
    length = 16 + size
    if version not in {0x20, 0x21} or length > MAX_HEADER:
        raise Malformed("its version, command or length is not one of version 2")
    if len(data) < length:
        return None
    if version == 0x20 or family == 0x00:
        return None, length
    body = data[16:length]
    if family == 0x11 and size >= 12:
        return (str(ipaddress.IPv4Address(body[:4])), *struct.unpack("!H", body[8:10])), length
    if family == 0x21 and size >= 36:
        return (str(ipaddress.IPv6Address(body[:16])), *struct.unpack("!H", body[32:34])), length
    if family == 0x31 and size >= 216:  # a Unix socket, which has no address that says who it is
        return None, length
    raise Malformed("its family is none of TCP or Unix sockets, or its addresses are too short")


class Proxied(Preamble):
    """Reads the header, then has `protocol()` take the connection over, as one of the peer that the header tells.

    Until then it takes a place among all connections, but none of the proxy's address, which all clients share.
    """

    def __init__(self, guard: ConnectionGuard, protocol: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(guard)
        self._protocol = protocol
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._refuse, "it has not come in time")
        self._guard.admit(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            found = parse(self._data)
        except Malformed as error:
            self._refuse(str(error))
            return
        if found is not None:
            self._timer.cancel()
            self._guard.leave(self)
            peer, length = found
            protocol = self._protocol()
            self._transport.set_protocol(protocol)
            protocol.connection_made(as_told(self._transport, peer))
            if rest := self._data[length:]:
                protocol.data_received(rest)

    def _refuse(self, reason: str) -> None:
        log.warning("a connection without a header of the PROXY protocol is closed: %s", reason)
        self._timer.cancel()
        self._transport.abort()


def as_told(transport: asyncio.Transport, peer: Peer | None) -> asyncio.Transport:
    """The transport with this peer's address in place of the proxy's; as it is without a peer."""
    return _Told(transport, peer) if peer else transport


def told(transport: asyncio.BaseTransport) -> tuple[asyncio.Transport, Peer | None]:
    """The transport itself, and the peer that a header has told."""
    if type(transport) is _Told:
        return transport.transport, transport.peer
    return cast("asyncio.Transport", transport), None


class _Told(asyncio.Transport):
    """A transport whose peer is the one that the header told; all else is the connection's own."""

    def __init__(self, transport: asyncio.Transport, peer: Peer) -> None:
        super().__init__()
        self.transport = transport
        self.peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.peer if name == "peername" else self.transport.get_extra_info(name, default)

    def __getattribute__(self, name: str) -> Any:
        # The base class has every method of a transport, and each only raises: pass them by.
        if name in {"get_extra_info", "transport", "peer", "__class__"}:
            return super().__getattribute__(name)
        return getattr(self.transport, name)
