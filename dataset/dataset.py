"""A packed dataset, opened for reading: its manifest, tables and segments, and the proof that they belong together.

manifest ─ dataset id ──► digests of all partitions ──► checksums of a partition's blocks ──► a block's bytes
                          checked when it is opened     when a partition is leased           when it is first read
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.errors import CorruptBlock, PackedFileError
from ringkv.dataset.arrays import to_numpy
from ringkv.dataset.folder import open_file
from ringkv.dataset.format import (
    BLOCK_ROW,
    BLOCK_SCHEMA,
    BLOCKS,
    MAGIC,
    PARTITION_SCHEMA,
    PARTITIONS,
    dataset_id,
    partition_digest,
)
from ringkv.dataset.manifest import read_manifest
from ringkv.dataset.segment import Segment


class Partitions(NamedTuple):
    """A row of each column for each partition: its keys, the bytes of its blocks, its digest of 16 bytes."""

    keys: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    digests: list[bytes]


class Dataset:
    """An open dataset. While it is open its folder is locked for others who would replace it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Read the folder that `descriptor` has open, which is the dataset's from here on, but no block.

        Raises PackedFileError; `path` is for the messages.
        """
        self.path = path
        self.descriptor = descriptor
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            self.manifest = read_manifest(path, descriptor)
            self.partitions = self._read_partitions()
            self._blocks = self._map_blocks()
            self.segments: list[Segment] = []
            for entry in self.manifest.segments:
                self.segments.append(Segment(path, descriptor, entry))
                undo.callback(self.segments[-1].close)
            self._close = undo.pop_all()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the dataset of this name. Raises PackedFileError."""
        return cls(path, _open(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all mappings back; as long as views of one are held, it stays until the last of them is gone."""
        self._close.close()

    def segment_of(self, partition: int) -> int:
        """The number of the segment that holds a partition."""
        return self._segment_numbers[partition]

    def blocks_of(self, partition: int) -> NDArray[np.void]:
        """A copy of the partition's rows of blocks.arrow, proved to belong to it. Raises CorruptBlock."""
        width = self.manifest.blocks_per_partition
        rows = np.empty(width, BLOCK_ROW)
        first = partition * width
        for name, column in self._blocks.items():
            rows[name] = column[first : first + width]
        if partition_digest(rows) != self.partitions.digests[partition]:
            raise self.corrupt(first, f"the rows of partition {partition} in {BLOCKS} do not match their digest")
        ends = rows["offset"].astype(np.int64) + rows["bytes"]
        if ends.max() > self.segments[self.segment_of(partition)].entry.size or (rows["offset"] % 8).any():
            raise self.corrupt(first, f"the rows of partition {partition} in {BLOCKS} lead out of its segment")
        return rows

    def corrupt(self, block: int, reason: str) -> CorruptBlock:
        """The error that says that a block cannot be served, and why."""
        return CorruptBlock(f"{self.path}: block {block} is corrupt: {reason}; pack the source of the dataset again")

    def _read_partitions(self) -> Partitions:
        manifest = self.manifest
        with self._table(PARTITIONS, PARTITION_SCHEMA, manifest.partitions) as batch:
            keys, sizes, digests = (batch.column(name) for name in ("keys", "bytes", "digest"))
            found = Partitions(to_numpy(keys), to_numpy(sizes), digests.to_pylist())
            numbers = [index for index, entry in enumerate(manifest.segments) for _ in range(entry.first, entry.last)]
            self._segment_numbers = numbers
            named = dataset_id(manifest.blocks, found.digests)
            if named != manifest.dataset_id:
                raise PackedFileError(
                    f"{self.path}: its partitions are those of dataset {named}, but its manifest says"
                    f" {manifest.dataset_id}; pack its source again"
                )
            if int(found.keys.sum()) != manifest.keys:
                raise PackedFileError(f"{self.path}: does not hold as many keys as it says; pack its source again")
            return Partitions(found.keys.copy(), found.sizes.copy(), found.digests)

    def _map_blocks(self) -> dict[str, NDArray[Any]]:
        with self._table(BLOCKS, BLOCK_SCHEMA, self.manifest.blocks) as batch:
            return {name: to_numpy(batch.column(name)) for name in BLOCK_SCHEMA.names}

    @contextmanager
    def _table(self, name: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """The one record batch of a table of the dataset, where it is mapped."""
        path = self.path / name
        again = "pack the source of the dataset again"
        descriptor = open_file(path, self.descriptor)
        try:
            with pa.memory_map(f"/proc/self/fd/{descriptor}") as file:
                if file.size() < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
                    raise PackedFileError(f"{path}: is damaged; {again}")
                reader = pa.ipc.open_file(file)
                if not reader.schema.equals(schema) or reader.num_record_batches != 1:
                    raise PackedFileError(f"{path}: is not what was packed; {again}")
                batch = reader.get_batch(0)
                if batch.num_rows != rows:
                    raise PackedFileError(f"{path}: has {batch.num_rows} rows, not {rows}; {again}")
                if any(column.null_count for column in batch.columns):
                    raise PackedFileError(f"{path}: says that values are missing; {again}")
                yield batch
        except (pa.ArrowException, OSError, ValueError) as error:
            # ValueError: a column that has fewer bytes than rows.
            raise PackedFileError(f"{path}: is damaged; {again}") from error
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise PackedFileError(f"{path}: no such folder; make it with `ringkv pack`") from error
    except NotADirectoryError as error:
        raise PackedFileError(
            f"{path}: is not a packed dataset, which is a folder; make one with `ringkv pack SOURCE FOLDER`"
        ) from error
    except OSError as error:
        raise PackedFileError(f"{path}: cannot be read: {error.strerror}") from error
