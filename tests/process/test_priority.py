"""What can wait steps aside, with all that it begins."""

import os
import subprocess
import sys

import pytest

from ringkv.process.priority import STRETCH, Stretches

ASIDE = """
import os, subprocess, sys
from ringkv.process.priority import step_aside
step_aside()
told = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0) == os.SCHED_OTHER)"
subprocess.run([sys.executable, "-c", told], check=True)
"""


def test_what_steps_aside_begins_everything_at_a_lower_priority() -> None:
    for nice, expected in ((0, 10), (15, 15)):
        if os.getpriority(os.PRIO_PROCESS, 0) <= nice:
            command = ["nice", "-n", str(nice - os.getpriority(os.PRIO_PROCESS, 0)), sys.executable, "-c", ASIDE]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert done.stdout.split() == [str(expected), "False"]


def test_work_gives_way_once_a_stretch_however_often_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    now, gone_first = 0.0, list[float]()
    monkeypatch.setattr("time.perf_counter", lambda: now)
    monkeypatch.setattr("os.sched_yield", lambda: gone_first.append(now))
    stretches = Stretches()
    for step in range(100):
        now = 0.3 * step * STRETCH
        stretches.give_way()
    assert gone_first == [0.3 * step * STRETCH for step in range(4, 100, 4)]
