"""What every peer can do: say what it needs, and start with the data loaded."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Protocol

from bench.data import Data
from bench.load import Endpoint
from bench.processes import Processes


class Peer(Protocol):
    """`needs` are its programs, each with the Debian package that brings it; `setup` says how it was tuned."""

    name: str
    needs: Mapping[str, str]
    setup: str

    def start(self, data: Data, processes: Processes) -> Endpoint:
        """Start it in `processes`, load the data, and wait until it answers."""
        ...


def missing(peer: Peer) -> list[str]:
    """The Debian packages without which the peer cannot run."""
    return sorted({package for program, package in peer.needs.items() if program_path(program) is None})


def program_path(program: str) -> str | None:
    # Debian keeps servers where a user's PATH does not reach.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def program(name: str) -> str:
    """The path of a program that is installed."""
    path = program_path(name)
    assert path is not None, name
    return path


def version(name: str, option: str = "-v") -> str:
    """The first line of what a program says of its version."""
    done = subprocess.run(
        [program(name), option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=10
    )
    return done.stdout.strip().partition("\n")[0]
