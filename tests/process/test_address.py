"""Addresses: written as they are read, refused in one line, and never taken from somebody who still listens."""

import asyncio
import ctypes
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

import ringkv.process.address
from ringkv.cluster.errors import InvalidAddress, StartupError
from ringkv.process.address import ACCEPTED, Address, bind, listen, reserved_ports
from tests.support.processes import short_directory

IP_LOCAL_PORT_RANGE = 51
"""Linux's socket option, from version 6.3 on."""

SO_ATTACH_FILTER = 26
"""Linux's socket option that Python has no name for."""

HOSTS = st.one_of(
    st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,30}(\.[a-z0-9-]{1,9}){0,3}\.?\Z"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ADDRESSES = st.one_of(
    st.builds(Address, HOSTS, st.integers(0, 65535)),
    st.builds(Address, st.text(min_size=1).map(lambda path: f"/{path}"), st.none()),
)


@given(ADDRESSES)
def test_what_is_written_reads_the_same(address: Address) -> None:
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:7379", "localhost", 7379),
        ("[::1]:80", "::1", 80),
        ("unix:/run/shard.sock", "/run/shard.sock", None),
        ("unix:relative:1", "relative:1", None),
        ("0.0.0.0:0", "0.0.0.0", 0),
    ],
)
def test_every_form_is_read(text: str, host: str, port: int | None) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":80", "host:x", "host:-1", "host:65536", "host:8 0", "::1:80", "unix:", "host:٣"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress, match=r"not an address: .* \(want host:port"):
        Address.parse(text)


@pytest.mark.parametrize("host", ["a..b", ".a", "a..", ".", 64 * "a", f"b.{64 * 'a'}", "\udcff", 30 * "\u00e9\u00e8"])
def test_a_name_that_no_host_can_have_is_refused(host: str) -> None:
    with pytest.raises(InvalidAddress, match=r"not an address: .* \(no host can have this name\)"):
        Address.parse(f"{host}:80")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/etc/passwd/s", "Not a directory"), (300 * "a", "File name too long"), ("/nowhere/s", "No such file")],
)
def test_a_path_at_which_no_socket_can_be_is_refused_in_one_line(path: str, reason: str) -> None:
    with pytest.raises(StartupError, match=rf"^cannot listen on unix:.*: {reason}.*; choose another address$"):
        bind(Address(path, None))


async def test_who_connects_reaches_who_listens() -> None:
    with short_directory() as folder:
        for address in (Address("127.0.0.1", 0), Address("::1", 0), Address(f"{folder}/s", None)):
            arrived = asyncio.Event()
            server = await address.listen(lambda arrived=arrived: _Once(arrived))  # type: ignore[misc]
            client = await server.address.connect(lambda: _Once(asyncio.Event()))
            async with asyncio.timeout(10):
                await arrived.wait()
            client.transport.close()
            server.close()
            await server.wait_closed()


def test_who_connects_among_hundreds_waits_for_few_turns_of_the_loop() -> None:
    clients = 10 * ACCEPTED

    async def turns() -> int:
        """How many turns pass until all are accepted who have connected before."""
        accepted, turns = list[asyncio.BaseTransport](), 0

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.append(transport)

        async with await listen(bind(Address("127.0.0.1", 0)), Accepted) as listening:
            with ExitStack() as connected:
                for _ in range(clients):
                    connected.enter_context(socket.create_connection((listening.address.host, listening.address.port)))
                while len(accepted) < clients:
                    await asyncio.sleep(0)
                    turns += 1
            for transport in accepted:
                transport.close()
        return turns

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns()) < clients // 2


class _Once(asyncio.Protocol):
    def __init__(self, arrived: asyncio.Event) -> None:
        self.arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.arrived.set()


def test_a_reserved_port_is_for_who_names_it_alone() -> None:
    with reserved_ports(0, 2) as addresses:
        for address in addresses:
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # As if of all ports that the system gives away this were the last one.
                other.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=HH", *2 * [address.port]))
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", 0))
            with bind(address) as named, socket.create_connection(named.getsockname()):
                assert Address.of(named) == address
    taken = addresses[0]
    with bind(taken), pytest.raises(StartupError, match="is in use"), reserved_ports(taken.port or 0, 1):
        pass


def test_a_port_in_use_is_named() -> None:
    with bind(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1:{port}: the address is in use"):
            bind(Address("127.0.0.1", port))


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(StartupError, match=r"cannot listen on 192\.0\.2\.1:80: "):
        bind(Address("192.0.2.1", 80))


def test_a_unix_socket_in_use_is_not_taken() -> None:
    with short_directory() as folder:
        address = Address(f"{folder}/s", None)
        with bind(address), pytest.raises(StartupError, match="in use"):
            bind(address)
        assert Path(address.host).is_socket()


def test_a_unix_socket_that_a_killed_process_left_behind_is_taken_over() -> None:
    with short_directory() as folder:
        address = Address(f"{folder}/s", None)
        bind(address).close()
        assert Path(address.host).exists()
        with bind(address), socket.socket(socket.AF_UNIX) as client:
            client.connect(address.host)
        address.remove()
        assert not Path(address.host).exists()


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone() -> None:
    with short_directory() as folder:
        (folder / "s").write_text("precious")
        with pytest.raises(StartupError, match="in use"):
            bind(Address(f"{folder}/s", None))
        assert (folder / "s").read_text() == "precious"


@pytest.mark.parametrize("host", ["/nowhere/at/all/s", "/" + "x" * 200])
def test_a_unix_socket_that_cannot_be_made_is_named(host: str) -> None:
    with pytest.raises(StartupError, match="cannot listen on unix:/"):
        bind(Address(host, None))


@pytest.mark.parametrize("host", ["no such host", "name.invalid"])
def test_a_host_without_an_address_is_named(host: str) -> None:
    with pytest.raises(StartupError, match=f"cannot listen on {host}:80: "):
        bind(Address(host, 80))


async def test_a_connection_whose_packets_are_lost_is_lost_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says so, as where one of several paths is broken: other connections to the same host work."""
    monkeypatch.setattr(ringkv.process.address, "UNACKNOWLEDGED", 0.3)
    lost = asyncio.get_running_loop().create_future()

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def connection_lost(self, _exc: Exception | None) -> None:
            lost.set_result(None)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = await Address.of(listening).connect(Client)
        with listening.accept()[0] as accepted:
            nothing = (ctypes.c_ubyte * 8)(6)  # BPF: return 0, the bytes of each packet that are taken
            accepted.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(nothing)))
            client.transport.write(b"anything")
            async with asyncio.timeout(30):
                await lost
