"""A benchmark that is interrupted ends everything that it started."""

import os
import signal
import sys
from pathlib import Path

import pytest

from bench import load
from bench.data import Data
from tests.support.processes import Spawner, wait_for


@pytest.mark.skipif(not load.installed(), reason="needs wrk")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_no_process_behind(
    spawn: Spawner, tiny: Data, tmp_path: Path, number: signal.Signals
) -> None:
    options = ["--pairs", str(tiny.pairs), "--work", str(tiny.text.parent), "--docs", str(tmp_path)]
    harness = spawn.run(sys.executable, "-m", "bench", "serve", *options, "--peer", "aiohttp", "--patience", "0")
    # In the middle of a start: what was started but not yet written down would be forgotten.
    wait_for(lambda: len(harness.living()) > 8 and "starting aiohttp proxy" in harness.out)
    os.kill(harness.pid, number)
    harness.wait()
    assert "Aborted" in harness.err
    assert not (tmp_path / "bench.md").exists()
    wait_for(lambda: not harness.living())
