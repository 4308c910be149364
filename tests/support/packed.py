"""Small datasets, packed within the process, and stores that have leased all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from ringkv.dataset.dataset import Dataset
from ringkv.dataset.packing.local import pack
from ringkv.dataset.segment import Segment
from ringkv.shard.store import Store
from tests.support.data import write_pairs
from tests.support.inline import Inline


def pack_pairs(folder: Path, pairs: dict[bytes, bytes], segment_size: int | None = None) -> Path:
    """The dataset of these pairs, in the folder."""
    packed = folder / "packed"
    pack(write_pairs(folder / "data", pairs), packed, executor=Inline(), segment_size=segment_size)
    return packed


@contextmanager
def stored(packed: Path) -> Iterator[Store]:
    """A store of the dataset that has leased nothing yet.

    What is not in memory it waits for: the kernel may have dropped what was packed a moment ago.
    """
    with Dataset.open(packed) as dataset, patch.object(Segment, "read_now", Segment.read):
        store = Store(dataset)
        yield store
        del store


def lease(store: Store, partitions: range | list[int] | None = None) -> None:
    """Lease these partitions, or all."""
    found = store.blocks.leasing(range(store.dataset.manifest.partitions) if partitions is None else partitions)
    store.blocks.lease(found)
    store.blocks.fit()


@contextmanager
def opened(folder: Path, pairs: dict[bytes, bytes], segment_size: int | None = None) -> Iterator[Store]:
    """A store of these pairs that has leased all of them."""
    with stored(pack_pairs(folder, pairs, segment_size)) as store:
        lease(store)
        yield store
        del store
