"""The last step of packing: from finished segments to a dataset, whose manifest is written when all else is safe."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.position import partition_count
from ringkv.dataset.arrays import bytes_to_arrow, to_arrow
from ringkv.dataset.durable import sync
from ringkv.dataset.format import (
    BLOCK_SCHEMA,
    BLOCKS,
    MANIFEST,
    PARTITION_SCHEMA,
    PARTITIONS,
    dataset_id,
    partition_digests,
)
from ringkv.dataset.manifest import Manifest, SegmentEntry, SourceEntry
from ringkv.dataset.source.file import digest_of

MAX_SOURCES: Final = 10_000
"""More sources than this become one entry of the manifest, which else would be too large to be read."""


def seal(
    folder: Path, segments: Sequence[SegmentEntry], blocks: NDArray[np.void], sources: Sequence[SourceEntry]
) -> Manifest:
    """Make the folder of these segments a dataset, with `blocks` as the rows of blocks.arrow.

    When it returns, all of it is on the disk and survives a power failure.
    """
    partitions = partition_count(len(blocks))
    digests = partition_digests(blocks.reshape(partitions, -1))
    keys, sizes = (blocks[name].reshape(partitions, -1).sum(axis=1, dtype=np.uint64) for name in ("keys", "bytes"))
    _write(folder / BLOCKS, BLOCK_SCHEMA, [to_arrow(blocks[name]) for name in BLOCK_SCHEMA.names])
    columns = [to_arrow(keys), to_arrow(sizes), bytes_to_arrow(digests, 16)]
    _write(folder / PARTITIONS, PARTITION_SCHEMA, columns)
    manifest = Manifest(
        dataset_id=dataset_id(len(blocks), digests),
        keys=int(keys.sum()),
        bytes=int(sizes.sum()),
        partitions=partitions,
        blocks=len(blocks),
        segments=tuple(segments),
        sources=_entries(sources),
        packed=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    for path in (*folder.iterdir(), folder):
        sync(path)
    (folder / MANIFEST).write_text(manifest.text())
    for path in (folder / MANIFEST, folder):
        sync(path)
    return manifest


def _write(path: Path, schema: pa.Schema, columns: list[pa.Array]) -> None:
    with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))


def _entries(sources: Sequence[SourceEntry]) -> tuple[SourceEntry, ...]:
    if len(sources) <= MAX_SOURCES:
        return tuple(sources)
    size = sum(source.size for source in sources)
    return (SourceEntry(f"{len(sources):,} sources", size, digest_of([source.digest for source in sources])),)
