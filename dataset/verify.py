"""Whether a dataset is what the packer would write, by more checks than those of a block's first read.

The checksums show whether bytes have changed since they were written; the other checks, whether the bytes that were
written are the right ones.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ringkv.cluster.errors import CorruptBlock
from ringkv.cluster.position import position, shift_to
from ringkv.dataset.block import Row
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import KEY_BYTES, offsets_at, values_at
from ringkv.dataset.progress import Progress
from ringkv.dataset.text import KEY_TEXT, as_texts


def damages(dataset: Dataset, progress: Progress) -> Iterator[str]:
    """One line for each block that is damaged, and one for each partition that is not what the tables say.

    The steps of `progress` are partitions.
    """
    manifest = dataset.manifest
    for partition in range(manifest.partitions):
        yield from _partition(dataset, partition)
        progress(partition + 1, manifest.partitions)


def _partition(dataset: Dataset, partition: int) -> Iterator[str]:
    try:
        rows = [Row._make(row) for row in dataset.blocks_of(partition).tolist()]
    except CorruptBlock as error:
        yield str(error)
        return
    first = partition * dataset.manifest.blocks_per_partition
    for block, row in enumerate(rows, first):
        try:
            body = dataset.read(block, row)
        except CorruptBlock as error:
            yield str(error)
            continue
        if row.keys and (wrong := _disorder(body, row, block, shift_to(dataset.manifest.blocks))):
            yield f"{dataset.path}: block {block} is wrong: {wrong}; pack the source of the dataset again"
    if sum(row.keys for row in rows) != int(dataset.partitions.keys[partition]):
        yield f"{dataset.path}: partition {partition} holds other numbers of keys than it says; pack its source again"
    elif sum(row.size for row in rows) != int(dataset.partitions.sizes[partition]):
        yield f"{dataset.path}: partition {partition} holds other numbers of bytes than it says; pack its source again"


def _disorder(body: bytes, row: Row, block: int, shift: int) -> str:
    """Why a lookup would not find all that the block holds; "" if it would."""
    keys = np.frombuffer(body, np.uint8, KEY_BYTES * row.keys).reshape(-1, KEY_BYTES)
    ends = np.frombuffer(body, np.int32, row.keys + 1, offsets_at(row.keys))
    texts = as_texts(keys).view(f"S{KEY_TEXT}").reshape(-1).tolist()
    positions = np.fromiter(map(position, texts), np.uint64, len(keys))
    wrong: dict[str, Any] = {
        "a key is no UUID version 4": ((keys[:, 6] >> 4 != 4) | (keys[:, 8] >> 6 != 2)).any(),
        "a key belongs to another block": (positions >> np.uint64(shift) != block).any(),
        "its keys are not in order": (positions[1:] < positions[:-1]).any(),
        "a key stands there twice": len(np.unique(keys, axis=0)) != len(keys),
        "its values are not one behind the other": (ends[1:] < ends[:-1]).any(),
        "it has bytes that are no value's": row.size - values_at(row.keys) - int(ends[-1]) >= 8,
    }
    return next((reason for reason, is_so in wrong.items() if is_so), "")
