"""The directory beside the target in which a dataset is built. One that a killed process left is removed later.

.<target>.<random>.ringkv-packing/     locked for as long as its process lives

A dataset that is open is locked in the same way, but with a shared lock: what nobody has locked may be removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SUFFIX: Final = ".ringkv-packing"


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A new directory on the target's file system, removed at the end with all that is in it.

    What killed processes left behind in the same folder, for whatever target, is removed first.
    """
    remove_stale(target.parent)
    path, descriptor = _make(target)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def remove_unused(path: Path, unless: Callable[[], bool] = lambda: False) -> bool:
    """Remove a dataset unless a process has it open, whose shards may have to open it again; whether it is gone.

    It is renamed first, so that nobody finds a part of it, even if this process is killed in between. `unless` is asked
    when nobody can open it any more; if it is true, the dataset stays.
    """
    with suppress(OSError):
        descriptor = _lock(path)
        try:
            if unless():
                return False
            gone = path.with_name(f".{path.name}.removed{SUFFIX}")
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        finally:
            os.close(descriptor)
        return True
    return False


def is_used(path: Path) -> bool:
    """Whether a process has the dataset open, or is removing it."""
    try:
        os.close(_lock(path))
    except OSError:
        return True
    return False


def remove_stale(folder: Path) -> None:
    """Remove the folder's workspaces that no living process has locked."""
    for entry in os.scandir(folder):
        if not (entry.name.startswith(".") and entry.name.endswith(SUFFIX)):
            continue
        try:
            descriptor = _lock(Path(entry.path))
        except OSError:
            # Locked: its process is at work. Gone: another process has removed it.
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
