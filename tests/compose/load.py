"""A steady load on one published router, from a process of its own, in which nothing may fail."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.chaos.measured import Measured
from tests.support.data import EXAMPLE, ROOT
from tests.support.processes import PATIENCE

RATE: Final = 300
"""Requests a second; what starts a container needs the cores as well."""


@contextmanager
def unharmed(port: int, folder: Path, event: str, *, may_reconnect: bool = False) -> Iterator[None]:
    """Ask for keys of the example while the body runs, then assert that every answer came and was right.

    `may_reconnect`: connections may be closed by the router, as HTTP allows where one is idle; the next one may not be
    refused for longer than a client waits.
    """
    output, log = folder / "load.npz", folder / "load.log"
    command = [sys.executable, "-m", "tests.chaos.load", str(EXAMPLE), "--output", str(output)]
    command += ["--url", f"127.0.0.1:{port}", "--rate", str(RATE)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as load,
    ):
        try:
            assert load.stdout is not None
            assert load.stdout.readline(), f"the load did not begin: {log.read_text()}"
            time.sleep(0.5)  # a part of the scenario: the quiet before the event
            yield
            time.sleep(0.5)
            load.terminate()
            assert load.wait(PATIENCE) == 0, log.read_text()
        finally:
            load.kill()
    measured = Measured.read(output)
    told = (
        f"{event}: {measured.requests} requests, {measured.rate:.0f}/s, {measured.wrong} wrong, "
        f"{measured.failed} failed, {measured.retried} retried, longest {measured.longest:.3f} s, "
        f"99 % within {measured.percentile(99):.3f} s, the load itself late by up to {measured.lag:.3f} s"
    )
    print(told)  # noqa: T201 - the figures of a run: pytest -rP
    assert (measured.wrong, measured.failed) == (0, 0), told
    assert may_reconnect or measured.retried == 0, told
    assert measured.rate > 0.8 * RATE, told
