"""Whether a packed file is what the packer would write: more than is checked when a partition is loaded.

A checksum tells that bytes have changed since they were written; the rest tells that the right ones were.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cluster.errors import CorruptPartition
from cluster.position import partition_shift, position
from dataset.packed import Extent, PackedFile, checksum, dataset_id

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_DIGITS: Final = [at for at in range(36) if at not in {8, 13, 18, 23}]


def damages(packed: PackedFile, progress: Callable[[int, int], None]) -> Iterator[str]:
    """One line for each partition that is damaged, and one if the file as a whole is not what it says.

    `progress` hears how many partitions are done, and how many there are.
    """
    header = packed.header
    content: list[tuple[int, int]] = []
    for partition in range(header.partitions):
        try:
            extent = packed.load(partition)
        except CorruptPartition as error:
            yield str(error)
        else:
            content.append((extent.count, checksum(_columns(packed, extent))))
            if reason := _disorder(packed, extent, partition):
                yield f"{packed.path}: partition {partition} is wrong: {reason}; pack its source again"
        progress(partition + 1, header.partitions)
    if len(content) < header.partitions:
        return
    if (found := sum(count for count, _ in content)) != header.keys:
        yield f"{packed.path}: holds {found} keys, but says {header.keys}; pack its source again"
    if (named := dataset_id(content)) != header.dataset_id:
        yield f"{packed.path}: holds dataset {named}, but says {header.dataset_id}; pack its source again"


def _columns(packed: PackedFile, extent: Extent) -> tuple[NDArray[Any], ...]:
    """Views of the partition's positions, keys (a row of 16 bytes each), offsets and values."""
    count = extent.count
    offsets = np.frombuffer(packed.map, np.int32, count + 1, extent.offsets)
    size = min(max(int(offsets[-1]), 0), len(packed.map) - extent.values)
    return (
        np.frombuffer(packed.map, np.uint64, count, extent.positions),
        np.frombuffer(packed.map, np.uint8, 16 * count, extent.keys).reshape(-1, 16),
        offsets,
        np.frombuffer(packed.map, np.uint8, size, extent.values),
    )


def _disorder(packed: PackedFile, extent: Extent, partition: int) -> str:
    """Why a lookup would not find all that the partition holds; an empty text if it would."""
    positions, keys, offsets, _ = _columns(packed, extent)
    hashes = np.fromiter(map(position, _texts(keys)), np.uint64, len(keys))
    wrong = {
        "its values overlap": offsets[0] != 0 or (np.diff(offsets) < 0).any(),
        "a key is no UUID version 4": ((keys[:, 6] >> 4 != 4) | (keys[:, 8] >> 6 != 2)).any(),
        "a key does not stand where its hash says": (hashes != positions).any(),
        "a key belongs to another partition": (
            positions >> partition_shift(packed.header.partitions) != partition
        ).any(),
        "its keys are not in order": (positions[1:] < positions[:-1]).any(),
        "a key stands there twice": len(np.unique(keys, axis=0)) != len(keys),
    }
    return next((reason for reason, is_so in wrong.items() if is_so), "")


def _texts(keys: NDArray[np.uint8]) -> list[bytes]:
    """The canonical texts of keys of 16 bytes."""
    text = np.full((len(keys), 36), ord("-"), np.uint8)
    text[:, _DIGITS] = _HEX[np.stack((keys >> 4, keys & 15), axis=2).reshape(-1, 32)]
    texts: list[bytes] = text.view("S36").reshape(-1).tolist()
    return texts
