"""The directory beside the target in which a packed file is built, and which does not outlive that for long.

.<target>.<random>.packing/     locked for as long as its process lives
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SUFFIX: Final = ".packing"


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A new directory on the target's file system, removed at the end with all that is in it.

    What a killed process left behind for the same target is removed first.
    """
    remove_stale(target)
    path, descriptor = _make(target)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def remove_stale(target: Path) -> None:
    """Remove the target's workspaces that no living process has locked."""
    for entry in os.scandir(target.parent):
        if not (entry.name.startswith(f".{target.name}.") and entry.name.endswith(SUFFIX)):
            continue
        try:
            descriptor = _lock(Path(entry.path))
        except OSError:
            # Locked: at work. Gone: somebody else has removed it.
            continue
        shutil.rmtree(entry.path, ignore_errors=True)
        os.close(descriptor)


def _make(target: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=SUFFIX, dir=target.parent))
        try:
            return path, _lock(path)
        except (BlockingIOError, FileNotFoundError):
            # Another packer took it for stale before it was locked, and removes it.
            continue


def _lock(path: Path) -> int:
    """A descriptor of the directory that holds its lock. Raises BlockingIOError if another process does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
