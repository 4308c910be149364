"""A segment, opened for reading: mapped where its blocks stay in memory, read with `pread` where they may have to wait.

Nobody should write to a segment: whoever renames another one to its name leaves the opened one as it is. But
`cp new.arrow segment.arrow` writes into the very file that is mapped, and reading a mapping behind the end of a file
that was cut off kills the process (SIGBUS). So a segment in doubt, as its stamp shows it, is read with `pread` alone.
"""

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ringkv.cluster.errors import PackedFileChanged, PackedFileError
from ringkv.dataset.folder import open_file
from ringkv.dataset.format import OFFSET_BYTES
from ringkv.dataset.manifest import SegmentEntry
from ringkv.dataset.residency import Residency

_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Stamp(NamedTuple):
    """While it stays the same so do the bytes; a rename or `chmod` changes it too, and `touch`."""

    size: int
    modified: int  # nanoseconds, as `utime` may set them back
    changed: int  # nanoseconds, which nobody can set


class Segment:
    """`map` is the whole file, `int32` a view of it as numbers; what of it is resident `residency` tells the kernel.

    `stamp` is the latest one with which its bytes were known to be right; `nowait` is whether the file system can say
    that a read would have to wait.
    """

    def __init__(self, folder: Path, descriptor: int, entry: SegmentEntry) -> None:
        """Map the file `entry.name` of the folder that `descriptor` has open. Raises PackedFileError."""
        self.path = folder / entry.name
        self.entry = entry
        self.descriptor = open_file(self.path, descriptor)
        try:
            # Before the first look at its bytes: whatever is written to them from here on changes the stamp.
            self.stamp = self._stamp()
            self.map = self._mapped()
        except PackedFileError:
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
        os.close(self.descriptor)
        self.int32.release()
        with suppress(BufferError):
            self.map.close()

    def read_now(self, offset: int, size: int) -> bytes | None:
        """The bytes if all of them are in memory; None if they would have to be waited for, or this cannot be told."""
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
        return bytes(buffer) if found == size else None

    def read(self, offset: int, size: int) -> bytes:
        """The bytes, which may have to be waited for: fewer only where the file ends. Raises OSError."""
        found = os.pread(self.descriptor, size, offset)
        while 0 < len(found) < size and (more := os.pread(self.descriptor, size - len(found), offset + len(found))):
            found += more  # Linux reads 2 GiB at once at most
        return found

    def look(self) -> Stamp:
        """The file's stamp as it is now. Raises PackedFileChanged if that alone shows that its bytes are others."""
        now = self._stamp()
        if now.size != self.stamp.size:
            raise self.changed(f"it has {now.size:,} bytes, not {self.stamp.size:,}")
        return now

    def touched(self) -> bool:
        """Whether the file's stamp is another one than `stamp`: its bytes may be others."""
        return self._stamp() != self.stamp

    def changed(self, how: str) -> PackedFileChanged:
        """The error that says that the file was overwritten, and by what that was seen."""
        return PackedFileChanged(
            f"{self.path}: was overwritten while it was served: {how}; start again, and pack new data into another"
            " folder: what is packed never changes"
        )

    def _stamp(self) -> Stamp:
        status = os.fstat(self.descriptor)
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _mapped(self) -> mmap.mmap:
        if self.stamp.size != self.entry.size or not self.stamp.size:
            raise PackedFileError(
                f"{self.path}: has {self.stamp.size:,} bytes, but its manifest says {self.entry.size:,};"
                " pack the source of the dataset again"
            )
        try:
            return mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ)
        except OSError as error:
            raise PackedFileError(f"{self.path}: cannot be mapped: {error.strerror}") from error
