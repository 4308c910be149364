"""Shards for tests: real processes, most of them shared by the tests of one file."""

import pytest

import ringkv.shard.reads
from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedShard, Spawner


@pytest.fixture(scope="module")
def example_shard(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the example on a Unix socket."""
    return module_spawn.shard(EXAMPLE)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a block of a store that answers may take longer than a client would wait."""
    monkeypatch.setattr(ringkv.shard.reads, "FETCH_SECONDS", 60.0)
