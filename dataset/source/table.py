"""A table, a Parquet or an Arrow file, of which the columns `key` and `value` are taken and all others left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ringkv.cluster.errors import SourceError
from ringkv.dataset.format import KEY_BYTES, MARK
from ringkv.dataset.source.file import RegularFile, unreadable
from ringkv.dataset.source.rows import SpooledRows, spool_rows

NAMES: Final = ("key", "value")

SCHEMA: Final = pa.schema([pa.field(name, pa.large_binary()) for name in NAMES])
"""The types in which rows are spooled, whatever they were in the table."""

MAX_ROWS: Final = 1 << 17
"""Rows of Parquet decoded at once, where they are small; else fewer, by their mean size."""


class Table:
    """A regular file of rows. Of Parquet pages are decoded at once, of Arrow record batches."""

    unit: Final = "row"

    def __init__(self, file: RegularFile, format_name: str) -> None:
        self.name = file.name
        self.file = file
        self.consumed = 0
        self.digest = ""
        self._format = format_name

    def pieces(self, size: int, spool: Path) -> Iterator[SpooledRows]:
        """Files of rows, one at least."""
        # Tables are read from their end, so the digest, which is of the bytes in order, takes a reading of its own.
        self.digest = self.file.digest()
        with self.file.open(), pa.OSFile(os.fsencode(self.file.path)) as opened:
            empty = True
            for batch in self._batches(opened, size):
                rows = max(1, batch.num_rows * size // max(1, batch.nbytes))
                for start in range(0, batch.num_rows, rows):
                    empty = False
                    yield spool_rows(batch.slice(start, rows), spool)
            if empty:
                yield spool_rows(pa.record_batch([[], []], schema=SCHEMA), spool)
        self.consumed = self.file.identity.size

    def _batches(self, opened: pa.NativeFile, size: int) -> Iterator[pa.RecordBatch]:
        with self._readable():
            batches = self._parquet(opened, size) if self._format == "Parquet" else self._arrow(opened)
            for done, total, batch in batches:
                self.consumed = self.file.identity.size * done // max(1, total)
                yield plain_rows(batch)

    def _parquet(self, opened: pa.NativeFile, size: int) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """Record batches, each behind how many of how many rows."""
        # It takes 9 MB in every process that packs, and few of them meet a Parquet file.
        import pyarrow.parquet as pq  # noqa: PLC0415

        file = pq.ParquetFile(opened, pre_buffer=False, buffer_size=1 << 20)
        self._check(file.schema_arrow)
        total = file.metadata.num_rows
        held = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
        rows = min(MAX_ROWS, size * total // max(1, held) + 1)
        done = 0
        for batch in file.iter_batches(rows, columns=list(NAMES), use_threads=False):
            yield done, total, batch
            done += batch.num_rows

    def _arrow(self, opened: pa.NativeFile) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        schema = pa.ipc.open_file(opened).schema
        self._check(schema)
        options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in NAMES])
        reader = pa.ipc.open_file(opened, options=options)
        for number in range(reader.num_record_batches):
            yield number, reader.num_record_batches, reader.get_batch(number)

    def _check(self, schema: pa.Schema) -> None:
        for name, wanted in zip(NAMES, ("text, 16 bytes or a UUID", "binary or text"), strict=True):
            found = [field for field in schema if field.name == name]
            if len(found) != 1:
                raise SourceError(
                    f"{self.name}: has {len(found) or 'no'} columns `{name}`;"
                    " a table must have one `key` and one `value`"
                )
            kind = _storage(found[0].type)
            of_bytes = _is_bytes(kind) or (pa.types.is_fixed_size_binary(kind) and name == "value")
            if not (of_bytes or (name == "key" and kind == pa.binary(KEY_BYTES))):
                raise SourceError(f"{self.name}: column `{name}` is {found[0].type}; it must be {wanted}")

    def packed_version(self) -> int | None:
        """The version of the packed format, if this is a file of a packed dataset; None if not, or if unreadable."""
        if self._format != "Arrow":
            return None
        try:
            with self.file.open(), pa.OSFile(os.fsencode(self.file.path)) as opened:
                return int((pa.ipc.open_file(opened).metadata or {})[MARK])
        except (pa.ArrowException, OSError, KeyError, ValueError):
            return None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno:
                raise unreadable(self.name, error) from error
            (reason, *_) = str(error).splitlines()
            raise SourceError(f"{self.name}: its {self._format} data are damaged or cut off: {reason}") from error


def plain_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns `key` and `value` of a batch, both of them as `large_binary`."""
    return pa.record_batch([_plain(batch.column(name)) for name in NAMES], schema=SCHEMA)


def _storage(kind: pa.DataType) -> pa.DataType:
    """The type in which a column's items are held."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return _storage(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _is_bytes(kind: pa.DataType) -> bool:
    sorts = ("binary", "string", "large_binary", "large_string", "binary_view", "string_view")
    return any(kind.equals(getattr(pa, sort)()) for sort in sorts)


def _plain(column: Any) -> pa.Array:
    """The column as byte strings. Raises ArrowException where it leads out of its own bytes, which Arrow just reads."""
    column.validate()
    if isinstance(column.type, pa.BaseExtensionType):
        return _plain(column.storage)
    if pa.types.is_dictionary(column.type):
        return _plain(column.dictionary).take(column.indices)
    if column.type.equals(pa.string_view()) or column.type.equals(pa.binary_view()):
        column.validate(full=True)  # unlike offsets, views are followed by the cast
    plain = column.cast(pa.large_binary())
    plain.validate(full=True)
    return plain
