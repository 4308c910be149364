"""A partition that is too hot for its shard is owned by one more while that lasts, and no request notices."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ringkv.cluster.position import slot
from ringkv.router.policy import COOL_AFTER
from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedCluster, Spawner, wait_for
from tests.support.resp import Client

KEY, VALUE = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05", b"1234"
HOT = slot(KEY) >> 6
TOGETHER = 500
AHEAD = 12
"""So many times TOGETHER requests are on their way to a node, some 40 ms of work: on a busy machine its client often
waits as long for a processor, and the node must not be idle meanwhile."""


@contextmanager
def again_and_again(work: Callable[[], None]) -> Iterator[list[int]]:
    """Has a thread do this until the end, and tells how often it was done; raises what it has raised."""
    done = [0]
    raised: list[Exception] = []
    ended = threading.Event()

    def run() -> None:
        try:
            while not ended.is_set():
                work()
                done[0] += 1
        except Exception as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
    if raised:
        raise raised[0]


@contextmanager
def overloaded(port: int) -> Iterator[None]:
    """A node is asked for the hot key as fast as it answers, by a client that comes without a router."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        requests, replies = TOGETHER * (b"*2\r\n$3\r\nGET\r\n$36\r\n%b\r\n" % KEY), TOGETHER * b"$4\r\n1234\r\n"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AHEAD * len(requests))
        client.sendall(AHEAD * requests)

        def ask() -> None:
            client.sendall(requests)
            left = len(replies)
            while left:
                got = client.recv(left)
                assert got
                left -= len(got)

        with again_and_again(ask):
            yield


def get(cluster: SpawnedCluster, path: str) -> bytes:
    """Over a new connection, which any of the router's processes may take."""
    with urllib.request.urlopen(f"http://{cluster.host}:{cluster.port}/{path}", timeout=30) as response:
        body: bytes = response.read()
    return body


def rings(cluster: SpawnedCluster) -> list[dict[str, Any]]:
    """What the processes of the router say, without doublets."""
    said = {
        json.dumps([ring["ring"], ring["extra_owners"]])
        for ring in (json.loads(get(cluster, "ring")) for _ in range(16))
    }
    return [dict(zip(("ring", "extra_owners"), json.loads(each), strict=True)) for each in said]


def nodes(cluster: SpawnedCluster) -> list[int]:
    """The ports of the hot partition's owners, as a node tells its clients."""
    with socket.create_connection(("127.0.0.1", cluster.node_port), timeout=30) as connected:
        ranges = Client(connected)("CLUSTER", "SLOTS")
    (found,) = [own for first, last, *own in ranges if first <= slot(KEY) <= last]
    return [port for _, port, *_ in found]


def read_direct(port: int) -> Any:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connected:
        client = Client(connected)
        client("READONLY")
        return client("GET", KEY.decode())


def test_a_hot_partition_gains_an_owner_under_load_and_loses_it_again(spawn: Spawner) -> None:
    options = ("--cluster-port", "0", "--redis-port", "0", "--workers", "2", "--hot-memory", "0")
    cluster = spawn.up(EXAMPLE, *options)

    def read() -> None:
        assert get(cluster, KEY.decode()) == VALUE
        time.sleep(0.02)  # so few that the partition cools on a busy machine too, where a shard waits for a processor

    wait_for(lambda: len(rings(cluster)) == 1)  # of both processes of the router, one of which was ready first
    (before,) = rings(cluster)
    assert before["extra_owners"] == {}
    (owner,) = nodes(cluster)
    with again_and_again(read) as done:
        with overloaded(owner):
            wait_for(lambda: json.loads(get(cluster, "ring"))["extra_owners"], "it gains no owner", patience=60)
            (hot,) = wait_for(lambda: agreed if len(agreed := rings(cluster)) == 1 else None, "they do not agree")
        assert list(hot["extra_owners"]) == [str(HOT)]
        (extra,) = hot["extra_owners"][str(HOT)]
        assert hot["ring"] != before["ring"]
        wait_for(lambda: len(nodes(cluster)) == 2)
        assert nodes(cluster)[0] == owner
        assert [read_direct(port) for port in nodes(cluster)] == [VALUE, VALUE]
        owners = json.loads(get(cluster, f"explain/{KEY.decode()}"))["owners"]
        assert [each["name"] for each in owners][1:] == [extra]
        wait_for(lambda: rings(cluster) == [before], "the owner is not lost again", patience=COOL_AFTER + 30, pause=0.5)
        assert nodes(cluster) == [owner]
    assert done[0] > 100
    events = [event["text"] for event in json.loads(get(cluster, "events"))["events"] if event["kind"] == "hot"]
    assert any(text.startswith(f"partition {HOT} gains {extra}: it takes ") for text in events)
    assert any(text.startswith(f"partition {HOT} loses {extra}: ") for text in events)
    assert json.loads(get(cluster, "stats"))["counters"]["unavailable"] == 0
