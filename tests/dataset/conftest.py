"""What the tests of the dataset share: keys, and a slow way to read all that a dataset holds."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ringkv.cluster.position import position, shift_to
from ringkv.dataset.format import BLOCKS, PARTITIONS
from ringkv.dataset.manifest import parse_manifest


def slow_read(path: Path) -> dict[bytes, bytes]:
    """Every pair of the dataset as Arrow finds it, with each in the block where it belongs."""
    manifest = parse_manifest(path, (path / "manifest.json").read_bytes())
    found: dict[bytes, bytes] = {}
    block = 0
    for entry in manifest.segments:
        assert (path / entry.name).stat().st_size == entry.size
        reader = pa.ipc.open_file(path / entry.name)
        assert reader.num_record_batches == (entry.last - entry.first) * manifest.blocks_per_partition
        for number in range(reader.num_record_batches):
            pairs = [(str(row["key"]).encode(), row["value"]) for row in reader.get_batch(number).to_pylist()]
            stands = [position(key) for key, _ in pairs]
            assert stands == sorted(stands)
            assert {at >> shift_to(manifest.blocks) for at in stands} <= {block}
            found |= dict(pairs)
            block += 1
    assert (block, len(found)) == (manifest.blocks, manifest.keys)
    assert {path.name for path in path.iterdir()} == {
        "manifest.json",
        BLOCKS,
        PARTITIONS,
        *(entry.name for entry in manifest.segments),
    }
    return found


@pytest.fixture(scope="session")
def read() -> Callable[[Path], dict[bytes, bytes]]:
    return slow_read


@pytest.fixture(scope="session")
def key() -> Callable[[int], bytes]:
    """A key for each number."""
    return lambda number: b"%08x-0000-4000-8000-%012x" % (number, number)
