"""Holes in files: places that take no room on the disk, and read as zeros, until something is written there."""

import ctypes
import errno
import os
from typing import Final

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def has_hole(descriptor: int, offset: int, size: int) -> bool:
    """Whether a part of these bytes was never written; False on a file system that has no holes."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_HOLE) < offset + size
    except OSError:
        return False


def has_data(descriptor: int, offset: int, size: int) -> bool:
    """Whether a part of these bytes was written."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) < offset + size
    except OSError as error:
        return error.errno != errno.ENXIO  # no data from here to the end


def punch(descriptor: int, offset: int, size: int) -> None:
    """Make a hole of these bytes. Raises OSError where the file system cannot.

    Source: https://man7.org/linux/man-pages/man2/fallocate.2.html, which Python does not have with its modes.
    """
    if _fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, size):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def room_taken(descriptor: int) -> int:
    """Bytes of the disk that the file takes."""
    return os.fstat(descriptor).st_blocks * 512
