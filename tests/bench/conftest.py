"""Tiny data for the harness, made once a run."""

from pathlib import Path

import pytest
from filelock import FileLock

from bench.data import Data, prepare


@pytest.fixture(scope="session")
def tiny(shared_folder: Path) -> Data:
    with FileLock(shared_folder / "bench.lock"):
        return prepare(shared_folder / "bench", 2000)
