"""With which programs something was measured, and how busy the machine is."""

import os
from importlib.metadata import version

from bench.peers.peer import program_path
from bench.peers.peer import version as version_of

PROGRAMS = {
    "nginx": "-v",
    "memcached": "-V",
    "redis-server": "--version",
    "haproxy": "-v",
    "wrk": "-v",
}


def software() -> dict[str, str]:
    """Notes for a report."""
    return {
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "hiredis", "pyarrow")),
        "programs": "; ".join(version_of(name, option)[:60] for name, option in PROGRAMS.items() if program_path(name)),
    }


def load_average() -> str:
    return " ".join(f"{figure:.2f}" for figure in os.getloadavg())
