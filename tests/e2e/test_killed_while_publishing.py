"""`kill -9` of a shard and of the router before each step of a publish: the old version is served or the new one."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.support.data import ROOT, write_pairs
from tests.support.processes import PATIENCE, Spawner
from tests.support.published import KEYS, Published, pairs_of, value_of
from tests.support.versioned import Versioned

LEAST = 15
"""Steps of a publish, at least: fewer would mean that they are not counted any more."""


@pytest.fixture
def publisher(published: Published, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Publishes the second version, and waits for a line before each step."""
    data = write_pairs(tmp_path / "data", pairs_of(2))
    command = [
        sys.executable,
        "-m",
        "tests.dataset.catalog.steps",
        *map(str, (published.path, data, tmp_path / "cache")),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process
        process.kill()


def test_whoever_is_killed_at_whatever_step_one_version_is_served(
    spawn: Spawner, published: Published, publisher: "subprocess.Popen[str]"
) -> None:
    names = ("one", "two", "three")
    cluster = Versioned(spawn, dict.fromkeys(names, published.path))
    keys, victims = cycle(KEYS), cycle(names)

    def answers() -> None:
        for key in (next(keys) for _ in range(10)):
            status, value, _ = cluster.value(key)
            assert status == 200
            assert value in {value_of(1, key), value_of(2, key)}

    assert publisher.stdout is not None
    assert publisher.stdin is not None
    steps = 0
    for line in publisher.stdout:
        assert int(line) == steps
        victim = next(victims)
        cluster.shards[victim].process.kill()
        answers()
        cluster.start(victim, published.path)
        cluster.router.process.kill()
        cluster.router.wait()
        cluster.start_router()
        answers()
        steps += 1
        publisher.stdin.write("\n")
        publisher.stdin.flush()
    assert publisher.wait(PATIENCE) == 0
    assert steps >= LEAST
    cluster.serves(2)
    assert [cluster.value(key)[:2] for key in KEYS[:100]] == [(200, value_of(2, key)) for key in KEYS[:100]]
