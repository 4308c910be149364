"""Waiting for a machine that has nothing else to do: what somebody else computes would be counted against a peer."""

import time
from typing import Final

import click

from bench.usage import busy_seconds

LOOK: Final = 0.25
"""Seconds over which the machine is watched."""

QUIET: Final = 0.3
"""Processors that may be busy, all servers of the benchmark being idle: more than clocks and heartbeats need."""


class Quiet:
    """Waits up to `patience` seconds in all, however often it is asked; then figures are as good as they get."""

    def __init__(self, patience: float) -> None:
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


def _busy() -> float:
    """Processors that are busy, on the average of a moment."""
    before, start = busy_seconds(), time.monotonic()
    time.sleep(LOOK)
    return (busy_seconds() - before) / (time.monotonic() - start)
