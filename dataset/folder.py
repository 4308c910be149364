"""Opening a file by its open folder, so that it is of that folder even if the path leads elsewhere meanwhile."""

import os
import stat
from pathlib import Path

from ringkv.cluster.errors import InvalidDataset


def open_file(path: Path, folder: int, *, writable: bool = False) -> int:
    """A descriptor of the file `path` names in the folder that `folder` has open, for the caller to close.

    Raises InvalidDataset for what is missing, cannot be read, or is no regular file.
    """
    again = "pack the source of the dataset again"
    try:
        # Without O_NONBLOCK the opening of a named pipe waits for its other end.
        access = os.O_RDWR if writable else os.O_RDONLY
        descriptor = os.open(path.name, access | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path}: no such file; {again}") from error
    except OSError as error:
        raise InvalidDataset(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidDataset(f"{path}: is not a regular file; {again}")
    return descriptor
