"""`kill -9` of a publisher at whatever step leaves one version served, whole, and nothing in the way of the next."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.dataset.packing.local import pack
from tests.support.data import ROOT
from tests.support.processes import Spawner

LEAST = {"data": {"folder": 15, "bucket": 20}, "packed": {"folder": 15, "bucket": 7}}
"""Steps of a publish, at least: fewer would mean that they are not counted any more."""


@pytest.mark.parametrize("what", ["data", "packed"])
def test_a_killed_publisher_leaves_what_is_served(
    spawn: Spawner, location: str, data: Callable[..., Path], tmp_path: Path, what: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pack(data(range(300)), first)
    pack(data(range(310)), second)
    published = second if what == "packed" else data(range(310))
    program = (sys.executable, "-m", "tests.dataset.catalog.killed")
    spawned = spawn.run(*program, location, first, second, published, tmp_path / "cache", env={"PYTHONPATH": str(ROOT)})
    assert spawned.wait(280) == 0, spawned.err
    kind = "bucket" if location.startswith("s3://") else "folder"
    assert int(spawned.out) >= LEAST[what][kind]
