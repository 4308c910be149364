"""Every kind of source, made from pairs: what the tests of sources write, and how each is to be asked for."""

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

Pairs = dict[bytes, bytes]

BINARY = pa.binary()


def text(pairs: Pairs) -> bytes:
    return b"".join(b"%b %b\n" % pair for pair in pairs.items())


def _arrow_compressed(codec: str) -> Callable[[bytes], bytes]:
    def compress(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        return bytes(sink.getvalue())

    return compress


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": _arrow_compressed("zstd"),
    "lz4": _arrow_compressed("lz4"),
}

KEYS: dict[str, Callable[[list[bytes]], pa.Array]] = {
    "string": lambda keys: pa.array([key.decode() for key in keys], pa.string()),
    "upper": lambda keys: pa.array([key.decode().upper() for key in keys], pa.large_string()),
    "view": lambda keys: pa.array([key.decode() for key in keys], pa.string_view()),
    "text": lambda keys: pa.array(keys, pa.binary()),
    "dictionary": lambda keys: pa.array([key.decode() for key in keys], pa.string()).dictionary_encode(),
    "binary": lambda keys: pa.array([UUID(key.decode()).bytes for key in keys], pa.binary()),
    "fixed": lambda keys: pa.array([UUID(key.decode()).bytes for key in keys], pa.binary(16)),
    "uuid": lambda keys: pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([UUID(key.decode()).bytes for key in keys], pa.binary(16))
    ),
}


def table(pairs: Pairs, keys: str = "uuid", values: pa.DataType = BINARY) -> pa.Table:
    """A table whose other columns come first."""
    names = ["value", "number", "key"]
    columns = [pa.array(list(pairs.values()), values), pa.array(range(len(pairs))), KEYS[keys](list(pairs))]
    return pa.table(columns, names)


def write_arrow(path: Path, content: pa.Table, rows: int = 5) -> None:
    with pa.ipc.new_file(str(path), content.schema) as writer:
        writer.write_table(content, max_chunksize=rows)


def write_parquet(path: Path, content: pa.Table, rows: int = 5) -> None:
    pq.write_table(content, path, row_group_size=rows)


@contextmanager
def fed_pipe(path: Path, content: bytes) -> Iterator[Path]:
    """A named pipe into which somebody writes, once it is read."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    try:
        yield path
    finally:
        writer.join(10)
        path.unlink()
