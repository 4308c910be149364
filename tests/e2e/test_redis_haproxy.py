"""HAProxy in front of the Redis port: its usual check, and clients that close their sending side."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import PATIENCE, SpawnedCluster, Spawner, wait_for
from tests.support.resp import Client, command

Tool = Callable[..., str]

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"
OTHER = b"0cdfafb5-edb4-48a6-a7ec-5b1a75831f91"


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE, "--redis-port", "0")


@pytest.fixture
def port(cluster: SpawnedCluster) -> str:
    return str(cluster.redis_port)


HAPROXY = """\
global
    maxconn 200
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend redis
    bind unix@{folder}/front
    default_backend router
backend router
    option tcp-check
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    tcp-check send QUIT\\r\\n
    tcp-check expect string +OK
    server one 127.0.0.1:{port} check inter 100ms
listen state
    mode http
    bind unix@{folder}/state
    stats enable
    stats uri /
"""


@pytest.fixture
def proxy(spawn: Spawner, port: str, tool: Tool) -> Iterator[Path]:
    """The folder of the sockets of an HAProxy in front of the cluster."""
    tool("haproxy", "-v")
    folder = spawn.directory()
    (folder / "cfg").write_text(HAPROXY.format(folder=folder, port=port))
    program = shutil.which("haproxy")
    assert program
    with subprocess.Popen([program, "-db", "-f", str(folder / "cfg")], stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(lambda: (folder / "front").exists() and (folder / "state").exists())
            yield folder
        finally:
            running.terminate()


def through(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(PATIENCE)
    connected.connect(str(path))
    return connected


def test_haproxy_finds_it_up_by_the_usual_check(proxy: Path) -> None:
    until = time.monotonic() + PATIENCE
    state = b""
    while b"L7OK" not in state and time.monotonic() < until:
        with through(proxy / "state") as connected:
            connected.sendall(b"GET /;csv HTTP/1.0\r\n\r\n")
            state = b""
            while data := connected.recv(1 << 16):
                state += data
    row = next(line for line in state.decode().splitlines() if line.startswith("router,one,"))
    assert ",UP," in row
    assert "L7OK" in row


def test_what_was_asked_before_a_half_close_is_answered_through_haproxy(proxy: Path, cluster: SpawnedCluster) -> None:
    stream = command("GET", KEY) * 3 + b"PING\r\n" + command("MGET", *[KEY, OTHER] * 20) + command("GET", OTHER)
    expected = [b"1234"] * 3 + [b"PONG", [b"1234", b"here is another value"] * 20, b"here is another value"]
    for cut in range(0, len(stream), 41):
        for connected in (through(proxy / "front"), socket.create_connection((cluster.host, cluster.redis_port))):
            with contextlib.closing(connected):
                connected.settimeout(PATIENCE)
                client = Client(connected)
                client.send(stream[:cut])
                client.send(stream[cut:] + command("GET", KEY)[:-5])
                connected.shutdown(socket.SHUT_WR)
                assert [client.read() for _ in expected] == expected
                with pytest.raises(ConnectionError):
                    client.read()
