"""Clients in C, for loads that no installed program makes and that would keep Python busier than the servers."""

from pathlib import Path
from typing import Final

from bench.peers.peer import program_path
from bench.processes import run

SOURCES: Final = Path(__file__).parent

COMPILER: Final = {"cc": "gcc"}
"""What is needed, with the Debian package that brings it."""


def missing() -> list[str]:
    """The Debian packages without which they cannot be made."""
    return [package for program, package in COMPILER.items() if program_path(program) is None]


def compiled(name: str, folder: Path) -> Path:
    """The program of bench/NAME.c, made in the folder. Raises BenchmarkFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    run(*COMPILER, "-O2", "-o", program, SOURCES / f"{name}.c")
    return program
