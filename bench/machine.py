"""Where and with what it was measured: without this a figure says nothing."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.peers.peer import program_path
from bench.peers.peer import version as version_of

PROGRAMS = {
    "nginx": "-v",
    "memcached": "-V",
    "redis-server": "--version",
    "haproxy": "-v",
    "wrk": "-v",
}


def machine() -> dict[str, str]:
    """Notes for a report; `load average` is that of this moment."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "?")
    notes = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{os.cpu_count()} processors: {model}",
        "system": f"Linux {platform.release()}",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "hiredis", "pyarrow")),
        "programs": "; ".join(version_of(name, option)[:60] for name, option in PROGRAMS.items() if program_path(name)),
    }
    return notes | {"load average": load_average()}


def load_average() -> str:
    return " ".join(f"{figure:.2f}" for figure in os.getloadavg())
