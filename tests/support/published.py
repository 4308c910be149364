"""Catalogs of small datasets, to which a test publishes version after version."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ringkv.dataset.catalog import Catalog, new_folder
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.packing.local import pack
from tests.support.data import random_keys, write_pairs
from tests.support.inline import Inline

KEYS = random_keys(2_000, seed=12)


def value_of(version: int, key: bytes) -> bytes:
    """What the key has in this version: it names both."""
    return b"%d %b" % (version, key)


def pairs_of(version: int, keys: Sequence[bytes] = KEYS) -> dict[bytes, bytes]:
    return {key: value_of(version, key) for key in keys}


class Published:
    """A catalog in a folder; `datasets` are those that were published, by the number of their version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalog = Catalog.at(path)
        self.datasets: dict[int, str] = {}
        path.mkdir(exist_ok=True)

    def folder(self, version: int) -> Path:
        """Where the dataset of a version lies."""
        (found,) = self.path.glob(f"{self.datasets[version]}.*")
        return found

    def put(self, version: int, before: Callable[[Path], None] = lambda _: None, keys: Sequence[bytes] = KEYS) -> Path:
        """Pack the pairs of this version into the catalog. `before` may harm the dataset."""
        work = self.path / ".work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        pack(write_pairs(work / "data", pairs_of(version, keys)), work / "packed", executor=Inline())
        with Dataset.open(work / "packed") as dataset:
            self.datasets[version] = dataset.manifest.dataset_id
        before(work / "packed")
        target = self.path / new_folder(self.datasets[version])
        (work / "packed").rename(target)
        return target

    def swap(self, version: int, by: str = "a tester@here", *, forced: bool = False) -> int:
        """Let a version that is there be served. Returns the serial."""
        dataset, folder = self.datasets[version], self.folder(version).name
        return self.catalog.swap(self.catalog.current(), dataset, folder, by, forced).version.serial

    def publish(self, version: int, before: Callable[[Path], None] = lambda _: None) -> int:
        """Put a version there and let it be served. Returns the serial."""
        self.put(version, before)
        return self.swap(version)
