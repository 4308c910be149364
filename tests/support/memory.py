"""What the operating system says of memory: of a process's mappings, and of a file's pages."""

import os
import re
from pathlib import Path


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


def evict(path: Path) -> None:
    """Let the file's pages, or those of the files of a folder, go from memory, as far as nobody has them mapped."""
    for file in [path] if path.is_file() else path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
