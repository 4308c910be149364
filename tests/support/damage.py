"""Datasets with one wrong byte, as a disk may hand them over."""

import shutil
from pathlib import Path
from typing import NamedTuple

from ringkv.dataset.block import Row
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import values_at


def copy_dataset(packed: Path, target: Path) -> Path:
    """A copy of the dataset, to be harmed."""
    return Path(shutil.copytree(packed, target))


class Place(NamedTuple):
    """Where a block lies: its segment, and its row of blocks.arrow."""

    segment: Path
    row: Row


def place_of(path: Path, block: int) -> Place:
    """Where the dataset's block lies."""
    with Dataset.open(path) as dataset:
        partition, number = divmod(block, dataset.manifest.blocks_per_partition)
        row = Row._make(dataset.blocks_of(partition)[number].tolist())
        return Place(dataset.segments[dataset.segment_of(partition)].path, row)


def flip(path: Path, at: int) -> None:
    """Change one bit of the file's byte `at`."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def flip_value_byte(path: Path, block: int) -> None:
    """Change one byte of the block's first value; all else stays as it is."""
    place = place_of(path, block)
    flip(place.segment, place.row.offset + values_at(place.row.keys))
