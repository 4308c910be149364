"""What micro-benchmarks share: a dataset of 100,000 pairs, some of its keys, and a transport that goes nowhere."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.data import sample_keys
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from ringkv.shard.store import Store

PAIRS = 100_000
KEYS = 1000


class Nowhere(asyncio.Transport):
    """Takes what is written, and forgets it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micro")
    text, path = folder / "pairs.data", folder / "pairs"
    with text.open("wb") as file:
        file.writelines(lines(PAIRS, 7))
    pack(text, path)
    return path


@pytest.fixture(scope="session")
def keys(packed: Path) -> list[bytes]:
    return sample_keys(packed, KEYS)


@pytest.fixture
def store(packed: Path) -> Iterator[Store]:
    """A store that has leased everything, and checked every block."""
    with Dataset.open(packed) as dataset:
        leased = Store(dataset)
        leased.blocks.lease(leased.blocks.leasing(range(dataset.manifest.partitions)))
        leased.blocks.fit()
        for block in range(dataset.manifest.blocks):
            leased.blocks.read(block)
        yield leased


@pytest.fixture
def nowhere() -> Nowhere:
    return Nowhere()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that does not run: protocols are called by hand."""
    made = asyncio.new_event_loop()
    yield made
    made.close()
