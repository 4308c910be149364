"""Holes in files: places that take no room on the disk, and read as zeros, until something is written there."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

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


def without_hole(descriptor: int, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of which of these spans `has_hole` says that all was written, with a look at each run of what was."""
    first, last = int(starts.min(initial=sys.maxsize)), int(ends.max(initial=0))
    runs = np.array([(0, 0), *_written(descriptor, first, last)], np.int64)
    at = runs[:, 0].searchsorted(starts, side="right") - 1
    found: NDArray[np.bool_] = ends <= runs[at, 1]
    return found


def _written(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of these bytes that were written, or may have been where a file system has no holes."""
    try:
        while start < end and (first := os.lseek(descriptor, start, os.SEEK_DATA)) < end:
            start = os.lseek(descriptor, first, os.SEEK_HOLE)
            yield first, start
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data from here to the end
            yield start, end


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
