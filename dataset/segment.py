"""A segment, opened for reading: mapped where its blocks stay in memory, read with `pread` where they may have to wait.

Nobody should write to a segment: whoever renames another one to its name leaves the opened one as it is. But
`cp new.arrow segment.arrow` writes into the very file that is mapped, and reading a mapping behind the end of a file
that was cut off kills the process (SIGBUS). So a segment in doubt, as its stamp shows it, is read with `pread` alone.

A segment of a mirror has an origin. It begins as one hole, and blocks are written to their places as they are fetched:
so its times tell nothing, but it lies in a folder to which nobody else may write.
"""

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import DatasetOverwritten, InvalidDataset
from ringkv.dataset.block import Row, damage
from ringkv.dataset.folder import open_file
from ringkv.dataset.format import OFFSET_BYTES
from ringkv.dataset.holes import has_hole, without_hole
from ringkv.dataset.manifest import SegmentEntry
from ringkv.dataset.origin import Origin
from ringkv.dataset.residency import Residency

_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says where a disk, or what a user may have of it, is full."""

FETCHES: Final = 2
"""How often a block is fetched if its bytes are wrong: a fault on the way hardly happens twice."""

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks at stamps, each of which takes a microsecond. They are enough for a write after a look to
have another time than one before it: file systems count times in steps of up to 10 ms."""


class Stamp(NamedTuple):
    """Size and times of a file. While they are the same, so are its bytes; but a rename or `chmod` changes them too."""

    size: int
    modified: int  # nanoseconds, as `utime` may set them back
    changed: int  # nanoseconds, which nobody can set


class Segment:
    """`map` is the whole file, `int32` a view of it as numbers; what of it is resident `residency` tells the kernel.

    `stamp` is the file's latest one at which all that was checked was right; `nowait` is whether the file system can
    tell that a read would have to wait.
    """

    def __init__(self, folder: Path, descriptor: int, entry: SegmentEntry, origin: Origin | None = None) -> None:
        """Map the file `entry.name` of the folder that `descriptor` has open. Raises InvalidDataset."""
        self.path = folder / entry.name
        self.entry = entry
        self.origin = origin
        self.descriptor = open_file(self.path, descriptor, writable=origin is not None)
        try:
            # Before the first look at its bytes: whatever is written to them from here on changes the stamp.
            self.stamp = self._stamp()
            self.map = self._mapped()
        except InvalidDataset:
            os.close(self.descriptor)
            raise
        whole = memoryview(self.map)
        # A tail of less than four bytes belongs to no column.
        self.int32 = whole[: len(whole) // OFFSET_BYTES * OFFSET_BYTES].cast("i")
        self.residency = Residency(self.map)
        self.nowait = True
        self.read_now(0, 1)

    def close(self) -> None:
        """Give the mapping back; as long as views of it are held, it stays until the last of them is gone."""
        # The number may be that of another file soon, which whoever still reads or fills this one must not touch.
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)
        self.int32.release()
        with suppress(BufferError):
            self.map.close()

    def read_now(self, offset: int, size: int) -> bytearray | None:
        """The bytes if all of them are in memory; None if a read would have to wait, or the file system cannot tell.

        As they were read: `bytes` of them would be one copy more, a tenth of what a shard does for a key from the disk.
        """
        if not self.nowait:
            return None
        buffer = bytearray(size)
        try:
            found = os.preadv(self.descriptor, (buffer,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self.nowait = False
            return None
        return buffer if found == size else None

    def read_ahead(self, offset: int, size: int) -> None:
        """Have the kernel begin to read the bytes, for `read_now` later on. An error is left to whoever reads them."""
        try:  # noqa: SIM105 - suppress() would take half a microsecond
            os.posix_fadvise(self.descriptor, offset, size, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass

    def read(self, offset: int, size: int) -> bytes:
        """The bytes, which may have to be waited for: fewer only where the file ends. Raises OSError."""
        found = os.pread(self.descriptor, size, offset)
        while 0 < len(found) < size and (more := os.pread(self.descriptor, size - len(found), offset + len(found))):
            found += more  # Linux reads 2 GiB at once at most
        return found

    def local(self, row: Row) -> bytes | None:
        """The body of a block of a mirror if it is here and right; None if it has to be fetched."""
        assert self.origin is not None
        if self.absent(row):
            return None
        try:
            body = self.read(row.offset, row.size)
        except OSError as error:
            self.origin.damaged(f"{self.path}: byte {row.offset} and on cannot be read: {error.strerror}")
            return None
        if not (wrong := damage(body, row)):
            return body
        if body.count(0) != len(body):  # as long as zeros are all that is there, nothing was fetched
            self.origin.damaged(f"{self.path}: the block at byte {row.offset} is damaged: {wrong}")
        return None

    def absent(self, row: Row) -> bool:
        """True proves that a part of a block was never fetched; False proves nothing."""
        return self.origin is not None and has_hole(self.descriptor, row.offset, row.size)

    def may_have(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Of which of these blocks `absent` is False; `rows` have the fields of BLOCK_ROW."""
        starts = rows["offset"].astype(np.int64)
        return without_hole(self.descriptor, starts, starts + rows["bytes"])

    def fetch(self, row: Row) -> bytes:
        """The body of a block from the origin, unchecked if it was wrong FETCHES times. Raises StoreError."""
        assert self.origin is not None
        for _ in range(FETCHES):
            body = self.origin.read_range(self.entry.name, row.offset, row.offset + row.size)
            if self.take(row, body):
                break
        return body

    def take(self, row: Row, body: bytes) -> bool:
        """Whether this body is the one that the row describes; then it is written to the mirror."""
        if damage(body, row):
            return False
        self.keep(row.offset, body)
        return True

    def keep(self, offset: int, data: bytes | memoryview) -> bool:
        """Write bytes of the origin to their place in the mirror, if there is room; whether they are there now."""
        origin = self.origin
        assert origin is not None
        if not origin.room.take(len(data)):
            return False
        try:
            self._write(offset, data)
        except OSError as error:
            try:
                if error.errno not in FULL or not origin.room.make(len(data)):
                    raise
                self._write(offset, data)
            except OSError as again:
                origin.kept(os.strerror(again.errno or 0))
                return False
        origin.kept("")
        return True

    def look(self) -> Stamp:
        """The file's stamp as it is now. Raises DatasetOverwritten if that alone shows that its bytes are others."""
        now = self._stamp()
        if now.size != self.stamp.size:
            raise self.changed(f"it has {now.size:,} bytes, not {self.stamp.size:,}")
        return now if self.origin is None else self.stamp

    def touched(self) -> bool:
        """Whether the file's stamp is another one than `stamp`: its bytes may be others."""
        return self.origin is None and self._stamp() != self.stamp

    def changed(self, how: str) -> DatasetOverwritten:
        """The error that says that the file was overwritten, and by what that was seen."""
        return DatasetOverwritten(
            f"{self.path}: was overwritten while it was served: {how}; start again, and pack new data into another"
            " folder: what is packed never changes"
        )

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def _stamp(self) -> Stamp:
        status = os.fstat(self.descriptor)
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _mapped(self) -> mmap.mmap:
        if self.stamp.size != self.entry.size or not self.stamp.size:
            raise InvalidDataset(
                f"{self.path}: has {self.stamp.size:,} bytes, but its manifest says {self.entry.size:,};"
                " pack the source of the dataset again"
            )
        try:
            return mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)
        except OSError as error:
            raise InvalidDataset(f"{self.path}: cannot be mapped: {error.strerror}") from error
