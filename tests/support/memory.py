"""What the operating system says of a process's memory."""

import re
from pathlib import Path


def resident(pid: int, path: Path) -> int:
    """Bytes of a file's mappings that are resident in the process."""
    total = 0
    counted = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = line.endswith(f" {path}")
        elif counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total
