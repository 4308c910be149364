"""The data file as packing sees it: a regular file that must not change, cut into chunks of whole lines."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xxhash import xxh3_128

from cluster.errors import SourceError
from dataset.text import MAX_LINE


class Source:
    """An open data file; after `chunks` has run out, `digest` is that of every byte, 32 hex digits."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._hash = xxh3_128()
        self.status = os.fstat(descriptor)

    @property
    def size(self) -> int:
        return self.status.st_size

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def chunks(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Start and size of each chunk: whole lines of about `chunk_size` bytes, or one longer line.

        A line that is too long for the format is cut, which whoever parses it finds out. An empty file is one
        chunk without lines.
        """
        start = at = 0
        while block := self._read(chunk_size):
            self._hash.update(block)
            newline = block.rfind(b"\n") + 1
            if newline:
                yield start, at + newline - start
                start = at + newline
            at += len(block)
            while at - start > MAX_LINE:
                yield start, MAX_LINE + 1
                start += MAX_LINE + 1
        if start < at or not at:
            yield start, at - start

    def begins_with(self, magic: bytes) -> bool:
        """Whether these are the file's first bytes; reads nothing else."""
        try:
            return os.pread(self._descriptor, len(magic), 0) == magic
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror}") from error

    def check_unchanged(self) -> None:
        """Raise SourceError if the file is not what it was when it was opened."""
        try:
            now = self.path.stat(), os.fstat(self._descriptor)
        except OSError as error:
            raise SourceError(f"{self.path}: {error.strerror} while it was packed; pack it again") from error
        if {identity(self.status)} != {identity(status) for status in now}:
            raise SourceError(f"{self.path}: changed while it was packed; pack it again")

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror}") from error


def identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What tells one state of a file from another without reading it."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open the data file. Raises SourceError if it is missing, no regular file, or not to be read."""
    try:
        # Without O_NONBLOCK the opening of a named pipe waits for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SourceError(f"{path}: is not a regular file; give the path of a data file")
        yield Source(path, descriptor)
    finally:
        os.close(descriptor)


def read_chunk(path: Path, start: int, size: int) -> bytes:
    """The bytes of a chunk. Raises SourceError, also if the file has become shorter."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            chunk = file.read(size)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if len(chunk) != size:
        raise SourceError(f"{path}: changed while it was packed; pack it again")
    return chunk
