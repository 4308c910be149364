"""What can wait steps aside, with all that it begins."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ringkv.process.priority import SHORTER, STRETCH, Stretches, go_first

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


FIRST = """
import os, threading
from pathlib import Path
from ringkv.process.priority import go_first
def told():
    lines = Path("/proc/thread-self/sched").read_text().splitlines()
    slices = [line.split(":")[1].strip() for line in lines if line.startswith("se.slice")]
    print(*slices, os.getpriority(os.PRIO_PROCESS, 0))
go_first()
told()
thread = threading.Thread(target=told)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not Path("/proc/self/sched").exists(), reason="this kernel does not tell the slices of threads")
def test_an_event_loop_goes_first_and_what_it_begins_does_not() -> None:
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        pytest.skip("the tests run at another policy")
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    own, begun = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert own[1] == begun[1] == os.getpriority(os.PRIO_PROCESS, 0)
    assert own[0] == int(SHORTER * begun[0])


@pytest.mark.parametrize(
    ("name", "value"), [("os.sched_getscheduler", lambda _pid: os.SCHED_BATCH), ("platform.machine", lambda: "pdp11")]
)
def test_who_was_given_a_policy_keeps_it_and_an_unknown_machine_is_no_error(
    name: str, value: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name, value)
    monkeypatch.setattr("ctypes.CDLL", lambda _name: pytest.fail("the system was asked"))
    go_first()


@pytest.mark.parametrize("refused", [0, -1], ids=["an older system tells no slice", "a sandbox refuses"])
def test_where_the_usual_slice_is_not_told_none_is_asked_for(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []

    class Library:
        def syscall(self, number: int, *_args: object) -> int:
            called.append(number)
            return refused

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.sched_getscheduler", lambda _pid: os.SCHED_OTHER)
    monkeypatch.setattr("ctypes.CDLL", lambda _name: Library())
    go_first()
    assert called == [315]  # sched_getattr, and no sched_setattr


def test_work_gives_way_once_a_stretch_however_often_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    now, gone_first = 0.0, list[float]()
    monkeypatch.setattr("time.perf_counter", lambda: now)
    monkeypatch.setattr("os.sched_yield", lambda: gone_first.append(now))
    stretches = Stretches()
    for step in range(100):
        now = 0.3 * step * STRETCH
        stretches.give_way()
    assert gone_first == [0.3 * step * STRETCH for step in range(4, 100, 4)]
