"""A dataset that lies behind a web server, which the tests may make fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.web import Web, web

PAIRS = {key: b"%b is the value" % key for key in random_keys(4_000, seed=91)}


@pytest.fixture(scope="session")
def pairs() -> dict[bytes, bytes]:
    return PAIRS


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_pairs(tmp_path, PAIRS, segment_size=60_000)


@pytest.fixture
def remote(packed: Path) -> Iterator[Web]:
    """The folder that has the dataset in the folder `packed`."""
    with web(packed.parent) as served:
        yield served
