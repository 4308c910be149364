"""The two tables of a packed dataset: Arrow files of one record batch, in which a column is its numbers and no more.

The rows of partitions are read whole. Those of blocks are read with `pread` where they are asked for: they may be on a
disk, and a page fault would stop all threads of the process until they have come.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.errors import InvalidDataset
from ringkv.dataset.folder import open_file
from ringkv.dataset.format import BLOCK_ROW, BLOCK_SCHEMA, BLOCKS, MAGIC

AGAIN: Final = "pack the source of the dataset again"


@contextmanager
def mapped(path: Path, descriptor: int, schema: pa.Schema, rows: int) -> Iterator[tuple[pa.RecordBatch, pa.Buffer]]:
    """The one record batch of a table where it is mapped, and all of the file. Raises InvalidDataset."""
    try:
        with pa.memory_map(f"/proc/self/fd/{descriptor}") as file:
            if file.size() < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
                raise InvalidDataset(f"{path}: is damaged; {AGAIN}")
            reader = pa.ipc.open_file(file)
            if not reader.schema.equals(schema) or reader.num_record_batches != 1:
                raise InvalidDataset(f"{path}: is not what was packed; {AGAIN}")
            batch = reader.get_batch(0)
            if batch.num_rows != rows:
                raise InvalidDataset(f"{path}: has {batch.num_rows} rows, not {rows}; {AGAIN}")
            if any(column.null_count for column in batch.columns):
                raise InvalidDataset(f"{path}: says that values are missing; {AGAIN}")
            file.seek(0)
            yield batch, file.read_buffer()
    except (pa.ArrowException, OSError, ValueError) as error:
        if reason := _hindrance(error):
            raise InvalidDataset(f"{path}: cannot be read: {reason}") from error
        # ValueError: a column that has fewer bytes than rows.
        raise InvalidDataset(f"{path}: is damaged; {AGAIN}") from error


class BlockTable:
    """The rows of blocks.arrow."""

    def __init__(self, folder: Path, descriptor: int, rows: int) -> None:
        """Open the table of the folder that `descriptor` has open. Raises InvalidDataset."""
        path = folder / BLOCKS
        self._descriptor = open_file(path, descriptor)
        try:
            with mapped(path, self._descriptor, BLOCK_SCHEMA, rows) as (batch, file):
                self._starts = {name: _start(batch.column(name), file) for name in BLOCK_SCHEMA.names}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def expect(self, first: int, count: int) -> None:
        """These rows are about to be read: let the disk bring them meanwhile."""
        for name, start in self._starts.items():
            size = BLOCK_ROW[name].itemsize
            os.posix_fadvise(self._descriptor, start + first * size, count * size, os.POSIX_FADV_WILLNEED)

    def read(self, first: int, count: int) -> NDArray[np.void]:
        """A copy of so many rows from `first` on, as BLOCK_ROW has them. Raises OSError."""
        rows = np.empty(count, BLOCK_ROW)
        for name, start in self._starts.items():
            kind = BLOCK_ROW[name]
            size = count * kind.itemsize
            data = os.pread(self._descriptor, size, start + first * kind.itemsize)
            if len(data) < size:
                raise OSError(errno.EIO, "it ends too soon")
            rows[name] = np.frombuffer(data, kind)
        return rows


def _hindrance(error: Exception) -> str:
    """What of the system kept Arrow from reading a file; "" if it was what is in the file."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    # Arrow reads in a thread of its own, and has no other class for one that cannot be started.
    return str(error) if type(error) is pa.ArrowException else ""


def _start(column: pa.Array, file: pa.Buffer) -> int:
    """Where in the file the numbers of a column begin. Raises ValueError if they are not there, one after the other."""
    _, numbers = column.buffers()
    size = len(column) * column.type.byte_width
    start: int = numbers.address - file.address if numbers else 0
    if column.offset or not 0 <= start <= file.size - size or (numbers.size if numbers else 0) < size:
        raise ValueError("a column is not where it should be")
    return start
