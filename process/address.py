"""Where a process listens: `host:port`, `[ipv6]:port` or `unix:/path`, and how to connect and listen there."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from ringkv.cluster.errors import InvalidAddress, StartupError

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: a load balancer that reconnects brings hundreds in one moment, an attacker
thousands, and a client that finds no place tries again only after a second."""

RECEIVED: Final = 32 << 10
"""Size in bytes of the receive buffer that is asked for; the kernel takes up to twice as many. A request has less. By
default it takes megabytes from a client, all of which would be read in one turn of the event loop."""

ACCEPTED: Final = 16
"""Connections that are accepted in one turn of the event loop: libuv takes one of each listening socket. Where hundreds
of clients have come before, and make each turn long, a new one would wait for as many turns."""

UNACKNOWLEDGED: Final = 5.0
"""Seconds after which a connection is lost whose peer's host does not acknowledge what is sent: by then all requests in
it have been given up. By default it takes a quarter of an hour, in which nobody notices that a path loses packets of
this one connection, as others to the same host work."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP address, or the path of a Unix socket when `port` is None.

    `name` is the host name that was resolved to this address, if any: the one that a certificate has to name.
    """

    host: str
    port: int | None
    name: str = field(default="", compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read the form that `str()` writes. Raises InvalidAddress."""
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls(text.removeprefix("unix:"), None)
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (host and colon and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
            raise InvalidAddress(f"not an address: {text!r} (want host:port, [ipv6]:port or unix:/path)")
        if not is_host(host):
            raise InvalidAddress(f"not an address: {text!r} (no host can have this name)")
        return cls(host, int(port))

    @classmethod
    def of(cls, bound: socket.socket) -> "Address":
        """Where a socket listens."""
        name = bound.getsockname()
        return cls(name, None) if bound.family == socket.AF_UNIX else cls(*name[:2])

    def __str__(self) -> str:
        if self.port is None:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        if self.port is None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: it may stand for any address

    async def connect(self, protocol: Callable[[], ProtocolT], tls: ssl.SSLContext | None = None) -> ProtocolT:
        """Connect `protocol()`, through `tls` unless this is a Unix socket. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.port is None:
            _, connected = await loop.create_unix_connection(protocol, self.host)
        else:
            named = None if tls is None else self.name or self.host
            transport, connected = await loop.create_connection(
                protocol, self.host, self.port, ssl=tls, server_hostname=named
            )
            if (used := transport.get_extra_info("socket")) is not None:  # None if it was lost at once
                used.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNACKNOWLEDGED))
        return connected

    async def listen(self, protocol: Callable[[], asyncio.Protocol]) -> "Listening":
        """Listen with `protocol`. Raises StartupError."""
        return await listen(bind(self), protocol)

    def remove(self) -> None:
        """Remove a Unix socket's file, which stays behind otherwise."""
        if self.port is None:
            Path(self.host).unlink(missing_ok=True)


def is_host(text: str) -> bool:
    """Whether a host may have this name, or address: what may not cannot even be asked for, and not with an OSError."""
    if not text.isascii():
        try:
            text = text.encode("idna").decode()
        except UnicodeError:
            return False
    return all(0 < len(label) < 64 for label in text.removesuffix(".").split("."))


class Listening:
    """What listens at one address."""

    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers

    @property
    def address(self) -> Address:
        return Address.of(self._servers[0].sockets[0])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        """Accept no more connections."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        for server in self._servers:
            await server.wait_closed()


def listeners(bound: socket.socket) -> list[socket.socket]:
    """A socket that `bind` has made, and further ones that listen in its place: of each one connection is accepted in a
    turn of the event loop.
    """
    return [bound, *(bound.dup() for _ in range(ACCEPTED - 1))]


async def listen(bound: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> Listening:
    """Listen with `protocol` on a socket that `bind` has made."""
    loop = asyncio.get_running_loop()
    create = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
    return Listening([await create(protocol, sock=listener, backlog=BACKLOG) for listener in listeners(bound)])


def bind(address: Address) -> socket.socket:
    """A bound, listening socket. Raises StartupError with what to do when the address is taken."""
    return _bind(address, shared=False)


def bind_shared(address: Address, count: int) -> list[socket.socket]:
    """So many sockets on one address, among which the kernel shares the connections out. Raises as `bind`."""
    if count == 1:
        return [bind(address)]
    if address.port is None:
        raise StartupError(f"cannot listen on {address}: processes can share a port, but not a Unix socket")
    # A shared port can be joined by any process of the same user, so a second cluster on it would go unnoticed.
    # Binding it once without sharing finds out whether somebody has it already.
    with bind(address) as alone:
        port = alone.getsockname()[1]
    return [_bind(Address(address.host, port), shared=True) for _ in range(count)]


@contextlib.contextmanager
def reserved_ports(first: int, count: int) -> Iterator[tuple[Address, ...]]:
    """So many addresses of 127.0.0.1, from port `first` on, or any where it is 0. Raises StartupError.

    Meanwhile nobody is given one of these ports who leaves the choice to the system: a socket is bound to each. It does
    not listen, so that whoever names the port can.
    """
    if first + count > 1 << 16:
        raise StartupError(f"cannot listen on {count} ports from {first} on: they end at 65535")
    with contextlib.ExitStack() as stack:
        ports = range(first, first + count) if first else count * [0]
        bound = [stack.enter_context(_bound(Address("127.0.0.1", port), shared=False)) for port in ports]
        yield tuple(map(Address.of, bound))


def _bind(address: Address, *, shared: bool) -> socket.socket:
    bound = _bound(address, shared=shared)
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise StartupError(_cannot_listen(address, error)) from error
    return bound


def _bound(address: Address, *, shared: bool) -> socket.socket:
    """A socket that does not listen yet."""
    family = socket.AF_INET
    target: str | tuple[str, int] = address.host
    if address.port is None:
        family = socket.AF_UNIX
    else:
        target = (address.host, address.port)
        if ":" in address.host:
            family = socket.AF_INET6
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_UNIX:
            _remove_dead_socket(Path(address.host))
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
            _keep_alive(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)  # connections inherit it
        bound.bind(target)
    except OSError as error:
        bound.close()
        raise StartupError(_cannot_listen(address, error)) from error
    bound.setblocking(False)
    return bound


def _keep_alive(listening: socket.socket) -> None:
    """Notice within 20 s that a peer's host has vanished without a word. Accepted connections inherit this."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _cannot_listen(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {address}: the address is in use; stop what listens there or choose another"
    return f"cannot listen on {address}: {error.strerror or error}; choose another address"


def _remove_dead_socket(path: Path) -> None:
    """Remove the socket that a killed process left behind, and never one that still answers."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
