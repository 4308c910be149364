"""What the tests of the dataset share: keys, and a slow way to read all that a packed file holds."""

import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from dataset.packed import PackedFile


def slow_read(path: Path) -> dict[bytes, bytes]:
    """Every pair of the file, with each partition checked and each position where it belongs."""
    found = {}
    with PackedFile.open(path) as packed:
        for partition in range(packed.header.partitions):
            count, positions, keys, offsets, values = packed.load(partition)
            stands = struct.unpack_from(f"<{count}Q", packed.map, positions)
            assert list(stands) == sorted(stands)
            assert {position * packed.header.partitions >> 64 for position in stands} <= {partition}
            ends = struct.unpack_from(f"<{count + 1}i", packed.map, offsets)
            for row in range(count):
                key = UUID(bytes=packed.map[keys + 16 * row : keys + 16 * (row + 1)])
                found[str(key).encode()] = packed.map[values + ends[row] : values + ends[row + 1]]
        assert len(found) == packed.header.keys
    return found


@pytest.fixture(scope="session")
def read() -> Callable[[Path], dict[bytes, bytes]]:
    return slow_read


@pytest.fixture(scope="session")
def key() -> Callable[[int], bytes]:
    """A key for each number."""
    return lambda number: b"%08x-0000-4000-8000-%012x" % (number, number)
