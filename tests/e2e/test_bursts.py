"""Thousands who connect at the same moment find a place in line: who finds none tries again a second later."""

import os
import signal
import socket
from contextlib import ExitStack

import pytest

from tests.support.processes import Spawner

BURST = 1500


@pytest.mark.parametrize("port", ["listens", "speaks Redis"])
def test_a_burst_of_connections_waits_for_a_process_that_is_busy(spawn: Spawner, port: str) -> None:
    ports = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
    router = spawn("router", "--shards", "127.0.0.1:1", *ports)
    number = int(router.wait_for_line(rf"{port} on 127\.0\.0\.1:(\d+)")[1])
    router.wait_for_line("speaks Redis on")
    with ExitStack() as connected:
        os.kill(router.pid, signal.SIGSTOP)
        connected.callback(os.kill, router.pid, signal.SIGCONT)
        for _ in range(BURST):
            client = connected.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", number))
            # On loopback a connection that finds a place is there at once; others are asked for again after a second.
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert client.getpeername()[1] == number
