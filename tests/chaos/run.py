"""One scenario under load: the load runs from the first fault to the last, and every fault is marked in time."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tests.chaos.cluster import PATIENCE
from tests.chaos.measured import Measured

CONNECTIONS: Final = 64

LONG: Final = 60.0
"""Seconds: longer than any router lets wait."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a scenario is: it does what it does `rounds` times to each of `victims` shards.

    `rate` is in requests a second; `hold` is how many seconds a fault lasts, `quiet` how many the load goes on
    before the first and after the last. Only at a `full` scale are times a demand: the short one shares its
    machine with other tests.
    """

    pairs: int
    rate: float
    rounds: int
    victims: int
    hold: float
    quiet: float
    full: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done to the cluster, on the clock of the measurements."""

    at: float
    what: str


@dataclass(slots=True)
class Run:
    """What a scenario did, and what it cost."""

    marks: list[Mark] = field(default_factory=list)
    measured: Measured | None = None

    def mark(self, what: str) -> float:
        """Note that this is done now; the time."""
        now = time.monotonic()
        self.marks.append(Mark(now, what))
        return now

    def pause(self, seconds: float) -> None:
        """Let the load go on: the fault, or the quiet after it, lasts so long."""
        time.sleep(seconds)

    @property
    def result(self) -> Measured:
        assert self.measured is not None
        return self.measured


class Routed(Protocol):
    """What can be loaded: where its routers answer, `host:port` each, and where a log may lie."""

    @property
    def folder(self) -> Path: ...

    @property
    def urls(self) -> list[str]: ...


@contextmanager
def under_load(
    cluster: Routed,
    data: Path,
    scale: Scale,
    most: int = CONNECTIONS,
    *,
    patience: float = LONG,
    versioned: bool = False,
) -> Iterator[Run]:
    """Load all routers of the cluster while the body runs; then `result` is there.

    A router that does not answer within `patience` seconds is left for another. `versioned` values begin with a number,
    which those of `data` do not have.
    """
    run = Run()
    output, log = cluster.folder / "load.npz", cluster.folder / "load.log"
    command = [sys.executable, "-m", "tests.chaos.load", str(data), "--output", str(output)]
    command += [f"--url={url}" for url in cluster.urls]
    command += ["--rate", str(scale.rate), "--connections", str(CONNECTIONS), "--most", str(most)]
    command += ["--patience", str(patience)]
    command += ["--versioned"] * versioned
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as load:
        try:
            assert load.stdout is not None
            assert load.stdout.readline(), f"the load did not begin: {log.read_text()}"
            run.pause(scale.quiet)
            yield run
            run.pause(scale.quiet)
            load.terminate()
            load.wait(PATIENCE)
        finally:
            load.kill()
    assert load.returncode == 0, log.read_text()
    run.measured = Measured.read(output)
