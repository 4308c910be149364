"""manifest.json: what a dataset is, for people and programs. It is written last: a folder that has it is a dataset.

From it a shard knows what it will own before it has read a byte of data.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ringkv.cluster.errors import InvalidDataset
from ringkv.cluster.limits import MAX_BLOCKS
from ringkv.cluster.position import SLOTS
from ringkv.cluster.told import is_id
from ringkv.dataset.format import HASHES, MANIFEST, VERSION

MAX_BYTES: Final = 16 << 20
"""Bytes that a manifest may have; it has 100 a segment. A larger file is something else, and is not read."""

is_file_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}").fullmatch


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment: the name and size in bytes of its file, and its partitions from `first` up to `last`, without it."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A source of pairs: its name for people, its size in bytes, and its xxh3_128 as 32 hex digits."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`bytes` are those of all blocks' bodies; `packed` is the time, as ISO 8601 in UTC."""

    dataset_id: str
    keys: int
    bytes: int
    partitions: int
    blocks: int
    segments: tuple[SegmentEntry, ...]
    sources: tuple[SourceEntry, ...]
    packed: str

    @property
    def blocks_per_partition(self) -> int:
        return self.blocks // self.partitions

    def text(self) -> str:
        """As manifest.json has it."""
        return json.dumps({"ringkv": VERSION, "hashes": HASHES, **asdict(self)}, indent=1) + "\n"


def read_manifest(path: Path, folder: int) -> Manifest:
    """The manifest of the dataset at `path`, which `folder` has open. Raises InvalidDataset."""
    try:
        descriptor = os.open(MANIFEST, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InvalidDataset(
            f"{path}: is not a packed dataset: it has no {MANIFEST}; make one with `ringkv pack`"
        ) from error
    except OSError as error:
        raise InvalidDataset(f"{path}/{MANIFEST}: cannot be read: {error.strerror}") from error
    return parse_manifest(path, text)


def parse_manifest(path: Path, text: bytes) -> Manifest:
    """The opposite of `Manifest.text`; `path` names the dataset in messages. Raises InvalidDataset."""
    try:
        said = json.loads(text)
        version = said.pop("ringkv")
        if version != VERSION:
            raise InvalidDataset(
                f"{path}: has format version {str(version)[:20]}, not {VERSION}; pack its source again"
            )
        return _checked(said)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidDataset(f"{path}/{MANIFEST}: is damaged; pack its source again") from error


def _checked(said: dict[str, Any]) -> Manifest:
    """Raises ValueError, KeyError, TypeError for what no packer has written."""
    if said.pop("hashes") != HASHES:
        raise ValueError("other hashes")
    segments = tuple(SegmentEntry(**entry) for entry in said.pop("segments"))
    sources = tuple(SourceEntry(**entry) for entry in said.pop("sources"))
    manifest = Manifest(segments=segments, sources=sources, **said)
    numbers = [manifest.keys, manifest.bytes, manifest.partitions, manifest.blocks]
    numbers += [number for entry in segments for number in (entry.size, entry.first, entry.last)]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise ValueError("not a number")
    powers = manifest.partitions.bit_count() == 1 and manifest.blocks.bit_count() == 1
    if not (powers and manifest.partitions <= SLOTS and manifest.partitions <= manifest.blocks <= MAX_BLOCKS):
        raise ValueError("a number of partitions or blocks that no position is mapped to")
    borders = [0, *(entry.last for entry in segments)]
    if [entry.first for entry in segments] != borders[:-1] or borders[-1] != manifest.partitions:
        raise ValueError("segments that are not all partitions in order")
    if not all(is_file_name(entry.name) for entry in segments):
        raise ValueError("a segment outside the folder")
    texts = [manifest.packed, *(text for entry in sources for text in (entry.name, entry.digest))]
    if not (is_id(manifest.dataset_id) and all(type(text) is str for text in texts)):
        raise ValueError("not an id, or not a text")
    if not all(type(entry.size) is int and entry.size >= 0 for entry in sources):
        raise ValueError("not a number of bytes")
    return manifest
