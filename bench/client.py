"""Clients in C, for loads that no installed program makes and that would keep Python busier than the servers."""

from pathlib import Path
from typing import Final

from bench.processes import run

SOURCES: Final = Path(__file__).parent

COMPILER: Final = {"cc": "gcc"}
"""What is needed, with the Debian package that brings it."""


def compiled(name: str, folder: Path) -> Path:
    """The program of bench/NAME.c, made in the folder. Raises BenchmarkFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    run(*COMPILER, "-O2", "-o", program, SOURCES / f"{name}.c")
    return program
