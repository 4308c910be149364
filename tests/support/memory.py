"""What the operating system says of memory: of a process's mappings, and of a file's pages."""

import ctypes
import mmap
import os
import re
from pathlib import Path

import numpy as np


def resident(pid: int, path: Path) -> int:
    """Bytes of the mappings of a file, or of the files of a folder, that are resident in the process."""
    total = 0
    counted = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = line.endswith(f" {path}") or f" {path}/" in line
        elif counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def cached(path: Path) -> int:
    """Bytes of a file that are in the page cache, by whole pages."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        content = np.frombuffer(mapped, np.uint8)
        found = np.zeros(-(-len(content) // mmap.PAGESIZE), np.uint8)
        told = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content)), ctypes.c_void_p(found.ctypes.data)
        )
        assert told == 0, os.strerror(ctypes.get_errno())
        del content
        return mmap.PAGESIZE * int((found & 1).sum())


def evict(path: Path) -> None:
    """Let the file's pages, or those of the files of a folder, go from memory, as far as nobody has them mapped."""
    for file in [path] if path.is_file() else path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
