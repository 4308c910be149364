"""Writes that survive a power failure: what was written is on the disk before anything leads to it."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from ringkv.process.priority import Stretches

PART: Final = ".ringkv-part"
"""The end of the names of files that are being written. One that stays was left by a killed process."""

PIECE: Final = 1 << 20
"""Bytes that are copied by one call, which takes half a millisecond."""


def sync(path: Path) -> None:
    """Make what was written survive a power failure: a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write the file, which at every moment is the old one, whole, or the new one. Raises OSError."""
    part = _written(path, data)
    try:
        part.rename(path)
    except OSError:
        part.unlink()
        raise
    sync(path.parent)


def create_file(path: Path, data: bytes | Path) -> None:
    """Write a file that must not be there yet, whole or not at all. Raises FileExistsError and other OSError."""
    part = _written(path, data)
    try:
        path.hardlink_to(part)
    finally:
        part.unlink()
    sync(path.parent)


def _written(path: Path, data: bytes | Path) -> Path:
    """A new file beside `path` that holds the data."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            if isinstance(data, bytes):
                sink.write(data)
            else:
                stretches = Stretches()
                with data.open("rb") as source:
                    while os.sendfile(sink.fileno(), source.fileno(), None, PIECE):
                        stretches.give_way()
            sink.flush()
            os.fchmod(sink.fileno(), 0o666 & ~_umask())
            os.fsync(sink.fileno())
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    return part


def _umask() -> int:
    """The process's umask: `mkstemp` gives permissions to the owner alone, but other users may serve the file."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
