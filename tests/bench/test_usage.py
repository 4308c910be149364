"""What processes use: of the harness's own children, whose use is known."""

import subprocess
import sys

from bench.usage import PeakResident, cpu_seconds, descendants, memory
from tests.support.processes import wait_for

HOLD = "import sys; held = bytearray(b'x' * 50_000_000); print('held', flush=True); sys.stdin.read()"
WORK = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True); import sys; sys.stdin.read()"


def child(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_memory_and_its_peak_are_those_of_the_children() -> None:
    with child(HOLD) as process, PeakResident(lambda: [process.pid]) as peak:
        assert process.stdout is not None
        process.stdout.readline()
        assert 50e6 < memory([process.pid]).anonymous < 100e6
        wait_for(lambda: peak.bytes > 50e6)
        process.kill()


def test_cpu_time_is_that_of_the_children() -> None:
    with child(WORK) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.2 < cpu_seconds(descendants([process.pid])) < 1
        process.kill()
