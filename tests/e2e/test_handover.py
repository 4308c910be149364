"""A router that begins anew on SIGHUP refuses nobody meanwhile: its ports stay open, and who comes waits."""

import os
import signal
import socket
import time
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from urllib.request import urlopen

import pytest
import redis

from tests.e2e.test_lifecycle import KEY
from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, wait_for
from tests.support.visitors import visitors

LATE = 0.8
"""Seconds after which a client on a busy machine sends what it connected for."""


def start(spawn: Spawner, workers: int) -> tuple[Spawned, int, int]:
    """A router of so many workers, with its ports."""
    shard = spawn.shard(EXAMPLE)
    listen = ("--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0", "--workers", str(workers))
    router = spawn("router", "--shards", str(shard.address), *listen)
    port = int(router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
    redis_port = int(router.wait_for_line(r"router speaks Redis on 127\.0\.0\.1:(\d+)")[1])
    wait_for(lambda: router.err.count("topology 1 in") == workers, "no topology")
    return router, port, redis_port


@pytest.mark.parametrize("workers", [1, 2])
def test_a_router_that_begins_anew_refuses_nobody(spawn: Spawner, workers: int) -> None:
    router, port, redis_port = start(spawn, workers)
    with visitors(port) as clients:
        for times in (2, 3):
            os.kill(router.pid, signal.SIGHUP)
            wait_for(lambda times=times: router.err.count("topology 1 in") == times * workers, router.err)  # type: ignore[misc]
            before = clients.served
            wait_for(lambda before=before: clients.served > before + 20, "nobody is served")  # type: ignore[misc]
    with redis.Redis(port=redis_port) as client:
        assert client.get(KEY) == b"1234"
    router.process.terminate()
    assert router.wait() == 0
    wait_for(lambda: not router.living())
    assert list(router.runtime.iterdir()) == []
    assert "Traceback" not in router.err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_router_can_be_stopped_while_it_begins_anew(spawn: Spawner, workers: int) -> None:
    router, *_ = start(spawn, workers)
    os.kill(router.pid, signal.SIGHUP)
    router.process.terminate()
    assert router.wait() in {0, -signal.SIGTERM}
    wait_for(lambda: not router.living())
    assert list(router.runtime.iterdir()) == []


def test_a_router_that_is_stopped_answers_who_has_connected_and_is_slow_to_ask(spawn: Spawner) -> None:
    router, port, redis_port = start(spawn, 1)
    requests = {
        port: (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % KEY.encode(), b"\r\n\r\n1234"),
        redis_port: (b"GET %b\r\n" % KEY.encode(), b"$4\r\n1234\r\n"),
    }
    connected = {port: socket.create_connection(("127.0.0.1", port)) for port in requests}

    def accepted() -> bool:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as metrics:
            return b"\nringkv_connections 3.0\n" in metrics.read()  # this question's among them

    wait_for(accepted, "they were not accepted")
    router.process.terminate()
    router.wait_for_line("router is leaving")
    time.sleep(LATE)
    for asked, client in connected.items():
        request, answer = requests[asked]
        with client:
            client.sendall(request)
            assert client.recv(1 << 16).endswith(answer)
    assert router.wait() == 0


@pytest.mark.parametrize("asked", [b"GET /%b", b"GET /%b?"], ids=["lane", "aiohttp"])
def test_a_router_that_is_stopped_sends_kept_connections_away_behind_their_last_answer(
    spawn: Spawner, asked: bytes
) -> None:
    router, port, _ = start(spawn, 1)
    request = asked % KEY.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    with closing(HTTPConnection("127.0.0.1", port)) as idle, socket.create_connection(("127.0.0.1", port)) as busy:
        idle.connect()  # it says nothing, so that the router stays for a while
        busy.sendall(request)
        assert b"\r\nConnection:" not in busy.recv(1 << 16)
        router.process.terminate()
        router.wait_for_line("router is leaving")
        time.sleep(LATE / 8)
        busy.sendall(request * 3)
        answers = b"".join(iter(partial(busy.recv, 1 << 16), b""))
        first, last = answers[: (end := answers.rindex(b"HTTP/1.1"))], answers[end:]
        assert first.count(b"\r\n\r\n1234") == 2
        assert b"\r\nConnection:" not in first
        assert b"\r\nConnection: close\r\n" in last
        assert last.endswith(b"\r\n\r\n1234")
        idle.request("GET", f"/{KEY}")
        response = idle.getresponse()
        assert (response.read(), response.getheader("Connection")) == (b"1234", "close")
    assert router.wait() == 0
