"""A regular file of data: found once, read later, and checked at the end to be still the same."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from xxhash import xxh3_128, xxh3_128_hexdigest

from ringkv.cluster.errors import SourceError

BLOCK: Final = 1 << 20
"""Bytes that are read at once for hashing."""


class Identity(NamedTuple):
    """What tells one state of a file from another without reading it.

    Programs can set the time of modification, and some do, so that a changed file looks like the old one. The time
    of the last change of the inode is the kernel's own.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file: the path by which every process finds it, its name in messages, and the state in which it was found."""

    path: Path
    name: str
    identity: Identity

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor of the file. Raises SourceError if it cannot be read or is another one by now."""
        try:
            # Without O_NONBLOCK the opening of a named pipe, which may stand there by now, waits for its other end.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(self.name, error) from error
        try:
            if Identity.of(os.fstat(descriptor)) != self.identity:
                raise changed(self.name)
            yield descriptor
        finally:
            os.close(descriptor)

    def begins_with(self, size: int) -> bytes:
        """The file's first bytes, `size` of them if it has so many."""
        with self.open() as descriptor:
            try:
                return os.pread(descriptor, size, 0)
            except OSError as error:
                raise unreadable(self.name, error) from error

    def digest(self) -> str:
        """The xxh3_128 of all bytes. Reads the whole file."""
        seen = xxh3_128()
        with self.open() as descriptor:
            try:
                while block := os.read(descriptor, BLOCK):
                    seen.update(block)
            except OSError as error:
                raise unreadable(self.name, error) from error
        return seen.hexdigest()

    def check_unchanged(self) -> None:
        """Raise SourceError if the file is not what it was when it was found."""
        try:
            now = Identity.of(self.path.stat())
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror} while it was packed; pack it again") from error
        if now != self.identity:
            raise changed(self.name)


def digest_of(digests: Sequence[str]) -> str:
    """One digest for several sources, in order; for a single source its own."""
    return digests[0] if len(digests) == 1 else xxh3_128_hexdigest("".join(digests).encode())


def unreadable(name: str, error: OSError) -> SourceError:
    return SourceError(f"{name}: cannot be read: {error.strerror}")


def changed(name: str) -> SourceError:
    return SourceError(f"{name}: changed while it was packed; pack it again")
