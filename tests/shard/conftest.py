"""Shards for tests: real processes, most of them shared by the tests of one file."""

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedShard, Spawner


@pytest.fixture(scope="module")
def example_shard(module_spawn: Spawner) -> SpawnedShard:
    """A shard that serves all of the example on a Unix socket."""
    return module_spawn.shard(EXAMPLE)
