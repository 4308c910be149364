"""Rows of a table on their way to a worker: spooled as an Arrow file, then checked and turned into columns there.

A text file would not do, because a value may hold a newline. A key may be a text or 16 bytes; both become texts,
so that one function says what a key is.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringkv.cluster.limits import MAX_VALUE
from ringkv.dataset.format import KEY_BYTES
from ringkv.dataset.source.protocol import Pairs
from ringkv.dataset.text import KEY_TEXT, VALUE_AT, Malformed, as_texts, columns, well_formed, why_malformed


class SpooledRows(NamedTuple):
    """A piece: rows in a file of their own, which is removed when they are read."""

    path: Path
    size: int

    def pairs(self) -> Pairs | Malformed:
        # The file is read and not mapped, as the columns outlive it.
        content = self.path.read_bytes()
        self.path.unlink()
        return pairs_of(pa.ipc.open_file(pa.py_buffer(content)).get_batch(0))


def pairs_of(batch: pa.RecordBatch) -> Pairs | Malformed:
    """The pairs of keys and values, both of them `large_binary`, or the first row that is none."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count:
            return Malformed(column.is_valid().index(pa.scalar(value=False)).as_py(), f"the {name} is null")
    keys, values = map(_Bytes.of, batch.columns)
    return _pairs(keys, values)


def spool_rows(batch: pa.RecordBatch, spool: Path) -> SpooledRows:
    """Write keys and values, both of them `large_binary`, for a worker to read."""
    with NamedTemporaryFile(dir=spool, delete=False) as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    return SpooledRows(Path(file.name), batch.nbytes)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """A column of byte strings: item i is `data[borders[i] : borders[i + 1]]`."""

    borders: NDArray[np.int64]
    data: bytes

    @classmethod
    def of(cls, column: Any) -> "_Bytes":
        _, offsets, data = column.buffers()
        borders = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
        return cls(borders, data.to_pybytes() if data else b"")

    def __getitem__(self, item: int) -> bytes:
        return self.data[self.borders[item] : self.borders[item + 1]]


def _pairs(keys: _Bytes, values: _Bytes) -> Pairs | Malformed:
    sizes, lengths = np.diff(keys.borders), np.diff(values.borders)
    # The first key tells whether they are texts or 16 bytes.
    size = KEY_BYTES if len(sizes) and sizes[0] == KEY_BYTES else KEY_TEXT
    odd = np.flatnonzero(sizes != size)
    count = int(odd[0]) if len(odd) else len(sizes)
    heads = _heads(keys, count, size)
    wrong = np.flatnonzero(~well_formed(heads) | (lengths[:count] > MAX_VALUE))
    if len(wrong) or len(odd):
        row = int(wrong[0]) if len(wrong) else count
        if row < count:
            return Malformed(row, why_malformed(heads[row].tobytes() + values[row]))
        return Malformed(row, why_malformed(keys[row] + b" ") or "the key is a text, and those before it are 16 bytes")
    return Pairs(columns(heads, values.borders[:-1], lengths), values.data)


def _heads(keys: _Bytes, count: int, size: int) -> NDArray[np.uint8]:
    """The first `count` keys, of `size` bytes each, as the heads of lines: a row of 37 bytes each."""
    start = int(keys.borders[0])
    raw = np.frombuffer(keys.data, np.uint8, count * size, start).reshape(count, size)
    heads = np.full((count, VALUE_AT), ord(" "), np.uint8)
    heads[:, :KEY_TEXT] = raw if size == KEY_TEXT else as_texts(raw)
    return heads
