"""Waiting for a machine that has nothing else to do, and measuring again when it turned out to have.

Other work is to the disadvantage of the peer whose turn it is, or to its advantage: one request at a time is answered
sooner by processors that are kept awake.
"""

import time
from collections.abc import Callable
from typing import Final

import click

from bench.load import Measured
from bench.usage import busy_seconds

LOOK: Final = 0.25
"""Seconds over which the machine is watched."""

QUIET: Final = 0.3
"""Processors that may be busy, all servers of the benchmark being idle: more than clocks and heartbeats need."""


class Quiet:
    """Waits up to `patience` seconds in all for a quiet machine; after that, what is measured is taken as it is."""

    def __init__(self, patience: float) -> None:
        self.repeated = 0
        self._left = patience

    def wait(self) -> None:
        start, told = time.monotonic(), False
        while self._left > 0 and _busy() > QUIET:
            if not told:
                click.echo("waiting until the machine is quiet")
                told = True
            now = time.monotonic()
            self._left -= now - start
            start = now

    def measured(self, measure: Callable[[], Measured]) -> Measured:
        """What `measure` finds on a quiet machine: while there is patience, it is repeated until that was one."""
        while True:
            self.wait()
            start = time.monotonic()
            found = measure()
            if found.others <= QUIET or self._left <= 0:
                return found
            self.repeated += 1
            click.echo(f"measuring again: others used {found.others:.2f} processors")
            self._left -= time.monotonic() - start


def _busy() -> float:
    """Processors that are busy, on the average of a moment."""
    before, start = busy_seconds(), time.monotonic()
    time.sleep(LOOK)
    return (busy_seconds() - before) / (time.monotonic() - start)
