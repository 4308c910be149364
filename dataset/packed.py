"""The packed file: one ordinary Arrow IPC file of which record batch i is partition i, sorted by position.

Writer and reader stand here together because they share its schema, its metadata and its checksums; how the
batches come about is the business of `dataset.pack`.

    ARROW1 │ schema │ batch 0: header, positions, keys, value offsets, values │ batch 1 … │ footer │ ARROW1
                               └ count, checksum                                            └ Header

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, without compression.
"""

import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
from xxhash import xxh3_64, xxh3_128_hexdigest

from cluster.errors import CorruptPartition, PackedFileError

MAGIC: Final = b"ARROW1"
VERSION: Final = 1
HASH: Final = "xxh3_64"

SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.uint64(), nullable=False),
        pa.field("key", pa.uuid(), nullable=False),
        pa.field("value", pa.binary(), nullable=False),
    ]
)

MAX_RUNS: Final = 16_384
"""A run of pages costs two mappings of the 65,530 that Linux gives a process; real rings make some 1,000."""

HEADER_ROOM: Final = 1024
"""A batch's message header ends where its first column begins, and is shorter than this."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the footer says of the whole file; `dataset_id` and `source_digest` are 32 hex digits."""

    dataset_id: str
    partitions: int
    keys: int
    source_size: int
    source_digest: str


class Extent(NamedTuple):
    """Where one partition's columns lie in the file: `count` rows, then bytes from the file's start.

    The columns are `count` uint64 on a multiple of 8, `count` keys of 16 bytes, `count + 1` int32 on a
    multiple of 4 that count from `values`, and the values. A column of no bytes lies nowhere: that is a 0.
    """

    count: int  # type: ignore[assignment]  # a count of rows; nobody counts in an extent with tuple.count()
    positions: int
    keys: int
    offsets: int
    values: int


def record_batch(count: int, positions: Any, keys: Any, offsets: Any, values: Any) -> pa.RecordBatch:
    """A partition's batch around its four columns, any objects with the buffer protocol, without a copy."""
    buffers = [pa.py_buffer(column) for column in (positions, keys, offsets, values)]
    storage = pa.Array.from_buffers(pa.binary(16), count, [None, buffers[1]])
    return pa.record_batch(
        [
            pa.Array.from_buffers(pa.uint64(), count, [None, buffers[0]]),
            pa.ExtensionArray.from_storage(pa.uuid(), storage),
            pa.Array.from_buffers(pa.binary(), count, [None, *buffers[2:]]),
        ],
        schema=SCHEMA,
    )


def checksum(columns: Iterable[Any]) -> int:
    """The xxh3_64 of a partition's four columns, one after the other without Arrow's padding."""
    digest = xxh3_64()
    for column in columns:
        digest.update(column)
    return digest.intdigest()


def dataset_id(checksums: Iterable[tuple[int, int]]) -> str:
    """The name of the content: from each partition's count and checksum, in order, and from nothing else."""
    content = [struct.pack("<QQ", count, check) for count, check in checksums]
    return xxh3_128_hexdigest(struct.pack("<QQ", VERSION, len(content)) + b"".join(content))


def write(sink: Any, header: Header, batches: Iterable[pa.RecordBatch], checksums: Iterable[tuple[int, int]]) -> None:
    """Write the whole file to `sink`, a path or a file that Arrow can write to, one batch a partition."""
    with pa.ipc.new_file(sink, SCHEMA, metadata=_footer(header)) as writer:
        for partition, (batch, (count, check)) in enumerate(zip(batches, checksums, strict=True)):
            writer.write_batch(batch, custom_metadata=_batch_metadata(partition, count, check))


class PackedFile:
    """A packed file, mapped whole and read-only, of which only the loaded partitions are resident.

    `advise` the partitions to come, then `load` them one by one: a worker thread that does this holds up
    others for less than a millisecond at a time. One thread at a time may advise, load and release, while any
    number of them read from `map`.
    """

    def __init__(self, path: Path, header: Header, mapped: mmap.mmap, reader: pa.RecordBatchFileReader) -> None:
        self.path = path
        self.header = header
        self.map = mapped
        self._reader = reader
        self._base: int = pa.py_buffer(mapped).address
        self._kept: dict[int, tuple[int, int]] = {}
        self._advised: dict[int, _Located] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the file and read its footer, but no partition. Raises PackedFileError."""
        mapped = _map(path)
        reader = _read_footer(path, mapped)
        return cls(path, _header(path, reader), mapped, reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the mapping back; where somebody still holds a view of it, it goes with the last of them."""
        self._reader = None
        with suppress(BufferError):
            self.map.close()

    def advise(self, partitions: Iterable[int]) -> None:
        """Announce partitions to load: their pages may become resident, and those of others will not.

        A page fault also maps what the page cache holds around it, up to 64 KiB, but only in its own mapping.
        So the runs of wanted pages get another advice than the rest, which makes mappings of them.
        """
        for partition in partitions:
            # Whoever loads it hears of the damage.
            with suppress(CorruptPartition):
                self._advised[partition] = located = self._locate(partition)
                self._kept[partition] = located.span
        self._settle()

    def load(self, partition: int) -> Extent:
        """Check every byte of the partition against its checksum. CorruptPartition says nothing of others."""
        located = self._advised.pop(partition, None) or self._locate(partition)
        with memoryview(self.map) as view:
            columns = zip(located.extent[1:], located.sizes, strict=True)
            # xxhash lets other threads run while it reads a large buffer, and while that comes from the disk.
            if checksum(view[start : start + size] for start, size in columns) != located.checksum:
                raise self._corrupt(partition, "its bytes do not match their checksum")
        return located.extent

    def weigh(self, partition: int) -> tuple[int, int]:
        """How many keys a partition has, and how many bytes its columns, by its header alone. CorruptPartition."""
        located = self._locate(partition)
        return located.extent.count, sum(located.sizes)

    def release(self, partitions: Iterable[int]) -> None:
        """Let the partitions' pages go, apart from those that they share with one that stays."""
        for partition in partitions:
            self._kept.pop(partition, None)
        self._settle()

    def _settle(self) -> None:
        """Tell the kernel which pages are wanted, and drop all others from the process."""
        runs = _page_runs(sorted(self._kept.values()))
        if len(runs) > MAX_RUNS:
            runs = [(runs[0][0], runs[-1][1])]
        # Advice may be refused, by a limit on mappings: then more pages are resident than must be.
        with suppress(OSError):
            end = 0
            for start, stop in runs:
                self._forget(end, start)
                self.map.madvise(mmap.MADV_NORMAL, start, min(stop, len(self.map)) - start)
                end = stop
            self._forget(end, len(self.map))

    def _forget(self, start: int, stop: int) -> None:
        if start < stop:
            self.map.madvise(mmap.MADV_RANDOM, start, stop - start)
            self.map.madvise(mmap.MADV_DONTNEED, start, stop - start)

    def _locate(self, partition: int) -> "_Located":
        try:
            batch, metadata = self._reader.get_batch_with_custom_metadata(partition)
            number, count, check = (int(metadata[name]) for name in (b"partition", b"keys", b"checksum"))
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise self._corrupt(partition, "its header is damaged") from error
        position, key, value = batch.columns
        buffers = (position.buffers()[1], key.buffers()[1], *value.buffers()[1:])
        sizes = tuple(buffer.size for buffer in buffers)
        starts = tuple(buffer.address - self._base if buffer.size else 0 for buffer in buffers)
        within = all(at >= 0 and at + size <= len(self.map) for at, size in zip(starts, sizes, strict=True))
        aligned = starts[0] % 8 == 0 and starts[2] % 4 == 0
        expected = (8 * count, 16 * count, 4 * (count + 1))
        if number != partition or batch.num_rows != count or sizes[:3] != expected or not (within and aligned):
            raise self._corrupt(partition, "its header is damaged")
        return _Located(Extent(count, *starts), sizes, check)

    def _corrupt(self, partition: int, reason: str) -> CorruptPartition:
        return CorruptPartition(
            f"{self.path}: partition {partition} is corrupt: {reason}; delete the file, pack its source again"
        )


class _Located(NamedTuple):
    extent: Extent
    sizes: tuple[int, ...]
    checksum: int

    @property
    def span(self) -> tuple[int, int]:
        """The bytes that it takes in the file, header and all."""
        used = [(at, at + size) for at, size in zip(self.extent[1:], self.sizes, strict=True) if size]
        return max(0, min(used)[0] - HEADER_ROOM), max(end for _, end in used)


def _page_runs(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pages of ascending spans of bytes, as runs from page border to page border with gaps between."""
    page = mmap.PAGESIZE
    runs: list[tuple[int, int]] = []
    for start, stop in spans:
        first, last = start // page * page, -(-stop // page) * page
        if runs and first <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(last, runs[-1][1])
        else:
            runs.append((first, last))
    return runs


def _map(path: Path) -> mmap.mmap:
    try:
        # Without O_NONBLOCK the opening of a named pipe waits for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise PackedFileError(f"{path}: no such file; make it with `ringkv pack`") from error
    except OSError as error:
        raise PackedFileError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PackedFileError(f"{path}: is not a regular file; give the packed file itself")
        if status.st_size == 0:
            raise PackedFileError(f"{path}: is empty, so not a packed dataset; make it with `ringkv pack`")
        # The mapping keeps the descriptor, and so the lock, by which the cache knows what is in use.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    except OSError as error:
        raise PackedFileError(f"{path}: cannot be mapped: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _read_footer(path: Path, mapped: mmap.mmap) -> pa.RecordBatchFileReader:
    if mapped[: len(MAGIC)] != MAGIC:
        raise PackedFileError(f"{path}: is not a packed dataset; make one from the data file with `ringkv pack`")
    if len(mapped) < 2 * len(MAGIC) or mapped[-len(MAGIC) :] != MAGIC:
        raise PackedFileError(f"{path}: is truncated; pack its source again")
    try:
        return pa.ipc.open_file(pa.py_buffer(mapped))
    except (pa.ArrowException, OSError) as error:
        raise PackedFileError(f"{path}: its footer is damaged; pack its source again") from error


def _header(path: Path, reader: pa.RecordBatchFileReader) -> Header:
    metadata = reader.metadata or {}
    if b"ringkv" not in metadata:
        raise PackedFileError(f"{path}: is an Arrow file, but not of a packed dataset; make one with `ringkv pack`")
    if metadata[b"ringkv"] != str(VERSION).encode():
        found = metadata[b"ringkv"].decode("ascii", "backslashreplace")
        raise PackedFileError(f"{path}: has format version {found}, not {VERSION}; pack its source again")
    if metadata.get(b"footer_digest") != _footer_digest(metadata) or not reader.schema.equals(SCHEMA):
        raise PackedFileError(f"{path}: its footer is damaged; pack its source again")
    header = Header(
        dataset_id=metadata[b"dataset_id"].decode(),
        partitions=int(metadata[b"partitions"]),
        keys=int(metadata[b"keys"]),
        source_size=int(metadata[b"source_size"]),
        source_digest=metadata[b"source_digest"].decode(),
    )
    if reader.num_record_batches != header.partitions:
        raise PackedFileError(f"{path}: does not hold all its partitions; pack its source again")
    return header


def _footer(header: Header) -> dict[bytes, bytes]:
    fields = {"ringkv": VERSION, "hash": HASH, **asdict(header)}
    metadata = {name.encode(): str(value).encode() for name, value in fields.items()}
    return metadata | {b"footer_digest": _footer_digest(metadata)}


def _footer_digest(metadata: Mapping[bytes, bytes]) -> bytes:
    """Arrow checks that a footer can be read, not that it says what was written."""
    items = sorted(item for item in metadata.items() if item[0] != b"footer_digest")
    return xxh3_128_hexdigest(b"\n".join(part for item in items for part in item)).encode()


def _batch_metadata(partition: int, count: int, check: int) -> dict[str, str]:
    return {"partition": str(partition), "keys": str(count), "checksum": str(check)}
