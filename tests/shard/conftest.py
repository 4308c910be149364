"""Shards for tests: real processes, most of them shared by the tests of one file."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedShard, Spawner
from tests.support.resp import Client


@pytest.fixture(scope="module")
def example_shard(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the example on a Unix socket."""
    return module_spawn.shard(EXAMPLE)


@pytest.fixture
def connect() -> Iterator[Callable[[SpawnedShard], Client]]:
    """Connections that end with the test."""
    with ExitStack() as stack:

        def opened(shard: SpawnedShard) -> Client:
            client = socket.socket(socket.AF_UNIX)
            stack.callback(client.close)
            client.settimeout(30)
            client.connect(shard.socket)
            return Client(client)

        yield opened
