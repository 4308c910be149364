"""Dropping files from memory, so that what is read of them comes from the disk.

A hypervisor may still cache the disk, so that a real one may be slower.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")

READ: Final = 1 << 22


def drop(paths: Iterable[Path]) -> str:
    """Let the kernel give the pages of these files back, and of all others if it may be told so; says what was done.

    Pages that a process has mapped stay.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # what was not written yet is kept
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    try:
        DROP_CACHES.write_text("1\n")
    except OSError as error:
        return f"pages dropped by posix_fadvise alone, as {DROP_CACHES} cannot be written: {error.strerror}"
    return f"pages dropped by posix_fadvise and {DROP_CACHES}"


def warm(paths: Iterable[Path]) -> None:
    """Read these files, so that they are in memory as far as there is room."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(READ):
                pass


def files(folder: Path) -> list[Path]:
    """All files of a folder and the folders in it."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
