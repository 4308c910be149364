"""A packed dataset, opened for reading: its manifest, tables and segments, and the proof that they belong together.

manifest ─ dataset id ──► digests of all partitions ──► checksums of a partition's blocks ──► a block's bytes
                          checked when it is opened     when a partition is leased           when it is first read

Programs that need no server open a dataset here and ask it for keys. Shards have lookups of their own (`shard.store`).
"""

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import CorruptBlock, InvalidDataset
from ringkv.cluster.position import canonical, position, shift_to
from ringkv.dataset.arrays import to_bytes, to_numpy
from ringkv.dataset.block import Row, damage, keys_of, read_row, span_of, texts_of, value_in
from ringkv.dataset.coalescing import MAX_REQUEST, Wanted, coalesce, one_by_one, placed_one_by_one
from ringkv.dataset.folder import open_file
from ringkv.dataset.format import BLOCK_ROW, BLOCKS, PARTITION_SCHEMA, PARTITIONS, dataset_id, partition_digests
from ringkv.dataset.manifest import read_manifest
from ringkv.dataset.origin import Origin
from ringkv.dataset.segment import Segment
from ringkv.dataset.table import BlockTable, mapped

if TYPE_CHECKING:
    from ringkv.dataset.mirror import Mirror


class Partitions(NamedTuple):
    """Columns with a row for each partition: its number of keys, the bytes of its blocks, its digest of 16 bytes."""

    keys: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    digests: list[bytes]


class Dataset:
    """An open dataset. While it is open its folder is locked against being replaced or removed.

    The mirror of a dataset in a store has an `origin`, from which it gets what is not here.
    """

    def __init__(self, path: Path, descriptor: int, origin: Origin | None = None) -> None:
        """Read the folder that `descriptor` has open, which is the dataset's from here on, but no block.

        Raises InvalidDataset; `path` is for the messages.
        """
        self.path = path
        self.descriptor = descriptor
        self.origin = origin
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            self.manifest = read_manifest(path, descriptor)
            self.partitions = self._read_partitions()
            self._blocks = BlockTable(path, descriptor, self.manifest.blocks)
            undo.callback(self._blocks.close)
            self.segments: list[Segment] = []
            for entry in self.manifest.segments:
                self.segments.append(Segment(path, descriptor, entry, origin))
                undo.callback(self.segments[-1].close)
            self._close = undo.pop_all()
        self._closed = False

    @classmethod
    def open(cls, location: Path | str, mirror: "Mirror | None" = None) -> "Dataset":
        """Open the dataset in this folder. A text may also be the address of a store, or what has a catalog.

        Of a catalog it is what is served now. Of a dataset in a store only what is read is fetched, a range a block,
        and kept in the mirror if there is one. Raises InvalidDataset; for a text also StoreError, CatalogError,
        CacheError.
        """
        if isinstance(location, Path):
            return cls(location, _open(location))
        from ringkv.dataset.opening import open_dataset  # noqa: PLC0415 - it opens datasets, and has to know this

        return open_dataset(location, mirror)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all mappings back; as long as views of one are held, it stays until the last of them is gone."""
        self._closed = True
        self._close.close()

    def closing(self, call: Callable[[], object]) -> None:
        """Let this be called when the dataset is closed, before anything else."""
        self._close.callback(call)

    def claim(self, partitions: Collection[int]) -> None:
        """Keep what is here of these partitions until `unclaim`, as it is about to be read where it is mapped."""
        if self.origin is not None:
            self.origin.claim(partitions)

    def unclaim(self, partitions: Collection[int]) -> None:
        """Let what is here of these partitions be removed when room is needed."""
        if self.origin is not None:
            self.origin.unclaim(partitions)

    def segment_of(self, partition: int) -> int:
        """The number of the segment that holds a partition."""
        return self._segment_numbers[partition]

    def by_segment(self, partitions: Iterable[int]) -> dict[int, list[int]]:
        """The partitions of each segment, by its number."""
        groups: dict[int, list[int]] = {}
        for partition in partitions:
            groups.setdefault(self._segment_numbers[partition], []).append(partition)
        return groups

    def blocks_of(self, partition: int) -> NDArray[np.void]:
        """A copy of the partition's rows of blocks.arrow, proved to belong to it. Raises CorruptBlock."""
        rows, wrong = self.blocks_of_all([partition])
        if wrong:
            raise wrong[partition]
        found: NDArray[np.void] = rows[0]
        return found

    def blocks_of_all(self, partitions: Sequence[int]) -> tuple[NDArray[np.void], dict[int, CorruptBlock]]:
        """As `blocks_of`, for ascending partitions of one segment, a row each; and those whose rows are wrong, and why.

        What lies between them in blocks.arrow is read too: they should be near to each other.
        """
        width, first = self.manifest.blocks_per_partition, partitions[0]
        reasons: dict[int, str] = {}
        try:
            read = self._blocks.read(first * width, (partitions[-1] + 1 - first) * width)
        except OSError as error:
            rows = np.zeros((len(partitions), width), BLOCK_ROW)
            reasons = dict.fromkeys(partitions, f"cannot be read: {error.strerror}")
        else:
            rows = read.reshape(-1, width)[np.array(partitions) - first]
            size = self.segments[self.segment_of(first)].entry.size
            out = (rows["offset"].astype(np.int64) + rows["bytes"] > size) | (rows["offset"] % 8 != 0)
            for partition, digest, is_out in zip(partitions, partition_digests(rows), out.any(axis=1), strict=True):
                if digest != self.partitions.digests[partition]:
                    reasons[partition] = "do not match their digest"
                elif is_out:
                    reasons[partition] = "lead out of its segment"
        wrong = {p: f"the rows of partition {p} in {BLOCKS} {reason}" for p, reason in reasons.items()}
        return rows, {p: self.corrupt(p * width, reason) for p, reason in wrong.items()}

    def expect_blocks_of_all(self, partitions: Sequence[int]) -> None:
        """The same partitions are about to be asked for."""
        width = self.manifest.blocks_per_partition
        self._blocks.expect(partitions[0] * width, (partitions[-1] + 1 - partitions[0]) * width)

    def get(self, key: bytes | str) -> bytes | None:
        """The value of a key, None if there is none. Reads one block.

        Raises InvalidKey, CorruptBlock, StoreError, and InvalidDataset once the dataset is closed.
        """
        self._check_open()
        text = canonical(key.encode() if isinstance(key, str) else key)
        partition, number = divmod(position(text) >> shift_to(self.manifest.blocks), self.manifest.blocks_per_partition)
        row = read_row(self.blocks_of(partition).tobytes(), number)
        if not row.keys:
            return None
        body = self.read(partition * self.manifest.blocks_per_partition + number, row)
        return value_in(body, row.keys, text)

    def items(self, first: int = 0, last: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """All keys, as texts, and values of the partitions from `first` up to `last`, without it; None for the end.

        They come in the order of the ring, block by block. Raises CorruptBlock, StoreError, and InvalidDataset once the
        dataset is closed.
        """
        self._check_open()
        for number, group in self._groups(range(self.manifest.partitions)[first:last]):
            fetched = self._fetched(number, group)
            for block, row in group:
                body = fetched.pop(block, b"") or self.read(block, row)
                for rank, key in enumerate(texts_of(keys_of(body, row.keys))):
                    begin, end = span_of(body, row.keys, rank)
                    yield key, body[begin:end]
                self._check_open()  # whoever takes the items may have closed it meanwhile

    def extents_of(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The first bytes of a segment's partitions, and the first ones behind them; None if the table is damaged."""
        entry, width = self.segments[number].entry, self.manifest.blocks_per_partition
        try:
            rows = self._blocks.read(entry.first * width, (entry.last - entry.first) * width)
        except OSError:
            return None
        starts = rows["offset"].astype(np.int64)
        ends = starts + rows["bytes"]
        if (starts[1:] < ends[:-1]).any() or ends[-1] > entry.size:
            return None
        return starts[::width], ends[width - 1 :: width]

    def rows_of(self, partition: int) -> list[Wanted]:
        """The blocks of a partition that have keys, and where they lie. Raises CorruptBlock."""
        rows, width = self.blocks_of(partition).tobytes(), self.manifest.blocks_per_partition
        found = [Wanted(partition * width + number, read_row(rows, number)) for number in range(width)]
        return [wanted for wanted in found if wanted.row.keys]

    def read(self, block: int, row: Row) -> bytes:
        """The body of a block, checked, from the origin if it is not here. Raises CorruptBlock, StoreError."""
        segment = self.segments[self.segment_of(block // self.manifest.blocks_per_partition)]
        try:
            body = segment.read(row.offset, row.size) if self.origin is None else segment.local(row)
        except OSError as error:
            raise self.corrupt(block, f"cannot be read: {error.strerror}") from error
        body = segment.fetch(row) if body is None else body
        if wrong := damage(body, row):
            raise self.corrupt(block, wrong)
        return body

    def corrupt(self, block: int, reason: str) -> CorruptBlock:
        """The error that says that a block cannot be served, and why."""
        where: Path | str = self.path
        if self.origin is not None:
            where = self.origin.location
            self.origin.doubt()
        return CorruptBlock(f"{where}: block {block} is corrupt: {reason}; pack the source of the dataset again")

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidDataset(f"{self.path}: is closed; open it again")

    def _groups(self, partitions: range) -> Iterator[tuple[int, list[Wanted]]]:
        """The blocks of partitions in groups of what one request may have, each with the number of its segment."""
        number, group, held = 0, list[Wanted](), 0
        for partition in partitions:
            for wanted in self.rows_of(partition):
                if group and (held + wanted.row.size > MAX_REQUEST or number != self.segment_of(partition)):
                    yield number, group
                    group, held = [], 0
                number = self.segment_of(partition)
                group.append(wanted)
                held += wanted.row.size
        if group:
            yield number, group

    def _fetched(self, number: int, group: list[Wanted]) -> dict[int, bytes]:
        """Fetch those blocks of a segment that are not here in few requests; the right bodies among them, by block."""
        segment, found = self.segments[number], dict[int, bytes]()
        absent = placed_one_by_one([one for one in group if segment.absent(one.row)])
        for start, end, wanted in coalesce(absent):
            assert self.origin is not None
            data = self.origin.read_range(segment.entry.name, start, end)
            for block, row in one_by_one(wanted):
                body = data[row.offset - start : row.offset - start + row.size]
                if not damage(body, row):
                    segment.keep(row.offset, body)
                    found[block] = body
        return found

    def _read_partitions(self) -> Partitions:
        manifest = self.manifest
        path = self.path / PARTITIONS
        descriptor = open_file(path, self.descriptor)
        try:
            with mapped(path, descriptor, PARTITION_SCHEMA, manifest.partitions) as (batch, _):
                keys, sizes, digests = (batch.column(name) for name in ("keys", "bytes", "digest"))
                found = Partitions(to_numpy(keys).copy(), to_numpy(sizes).copy(), to_bytes(digests))
        finally:
            os.close(descriptor)
        self._segment_numbers = [
            index for index, entry in enumerate(manifest.segments) for _ in range(entry.first, entry.last)
        ]
        named = dataset_id(manifest.blocks, found.digests)
        if named != manifest.dataset_id:
            raise InvalidDataset(
                f"{self.path}: its partitions are those of dataset {named}, but its manifest says"
                f" {manifest.dataset_id}; pack its source again"
            )
        if int(found.keys.sum()) != manifest.keys:
            raise InvalidDataset(f"{self.path}: does not hold as many keys as it says; pack its source again")
        return found


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path}: no such folder; make it with `ringkv pack`") from error
    except NotADirectoryError as error:
        raise InvalidDataset(
            f"{path}: is not a packed dataset, which is a folder; make one with `ringkv pack SOURCE FOLDER`"
        ) from error
    except OSError as error:
        raise InvalidDataset(f"{path}: cannot be read: {error.strerror}") from error
