"""Where a packing may put its dataset: at a new name, in place of an empty folder, or of one that nobody serves."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ringkv.cluster.errors import InvalidDataset, PackingFailed
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS
from ringkv.dataset.manifest import read_manifest

RENAME_EXCHANGE: Final = 2
AT_FDCWD: Final = -100


def replaceable(target: Path) -> Path:
    """The path to be replaced: `target`, or where it leads if it is a symlink, which stays as it is.

    Raises PackingFailed if something that must stay is there, and OSError if that cannot be found out.
    """
    real = Path(os.path.realpath(target)) if target.is_symlink() else target
    with _unserved(target, real):
        return real


def put(building: Path, target: Path) -> None:
    """Give the name of `target`, as `replaceable` returned it, to the dataset that was built in the same file system.

    At every moment the name leads to nothing or to one whole dataset. The old dataset, if any, is at `building` then.
    Raises PackingFailed and OSError as `replaceable`.
    """
    for once_more in (True, False):
        with _unserved(target, target) as replaced:
            try:
                if replaced:
                    _exchange(building, target)
                else:
                    building.rename(target)
            except OSError as error:
                # Somebody else has just packed something there.
                if not once_more or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            else:
                return


@contextmanager
def _unserved(target: Path, real: Path) -> Iterator[bool]:
    """Whether there is a dataset, which is locked meanwhile, so that nobody can open it. `target` is for messages."""
    try:
        folder = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    except NotADirectoryError as error:
        raise _stays(target, "is no folder") from error
    try:
        names = set(os.listdir(folder))  # noqa: PTH208 - pathlib knows no descriptors
        if names:
            _check_names(target, folder, names)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PackingFailed(f"{target}: is being served; pack into another folder") from error
        yield bool(names)
    finally:
        os.close(folder)


def _check_names(target: Path, folder: int, names: set[str]) -> None:
    """Raise PackingFailed if the folder has other things than a dataset's."""
    try:
        manifest = read_manifest(target, folder)
    except InvalidDataset as error:
        raise _stays(target, "is a folder of something else than a packed dataset") from error
    if others := names - {MANIFEST, PARTITIONS, BLOCKS, *(segment.name for segment in manifest.segments)}:
        raise _stays(target, f"holds {min(others)!a} beside a packed dataset")


def _stays(target: Path, what: str) -> PackingFailed:
    return PackingFailed(f"{target}: {what}, and stays as it is; name a folder to be made, or a dataset to be replaced")


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders in one step: renameat2 of Linux, which Python does not have."""
    system = ctypes.CDLL(None, use_errno=True)
    if system.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        if number == errno.EINVAL:
            raise PackingFailed(f"{other}: its file system cannot replace a folder at once; pack into another folder")
        raise OSError(number, os.strerror(number))
