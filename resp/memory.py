"""The memory of this process, as Linux counts it and INFO names it."""

from pathlib import Path
from typing import Final

_FIELDS: Final = {"RssAnon": "used_memory", "VmRSS": "used_memory_rss", "VmHWM": "used_memory_peak"}
"""Field of Linux → field of INFO. Mapped files do not count as used: the system may take their pages back."""


def memory() -> dict[str, str | int | float]:
    """Bytes by INFO's fields, and the same for people; nothing where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    found: dict[str, str | int | float] = {"maxmemory": 0}
    for name, shown in _FIELDS.items():
        size = int(told[name].split()[0]) << 10
        found[shown] = size
        found[f"{shown}_human"] = f"{size / (1 << 20):.2f}M"
    return found
