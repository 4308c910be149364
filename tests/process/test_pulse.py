"""A child that is watched and hangs is killed; one that stood still together with its parent is not."""

import asyncio
import logging
import os
import signal
import time
from multiprocessing.context import ForkServerProcess

import pytest

import ringkv.process.children
from ringkv.process.children import HUNG_LOOKS, Child, Life
from ringkv.process.forking import CHILDREN, fork_server
from ringkv.process.logs import LogStyle
from ringkv.process.pulse import beats
from tests.support.processes import eventually

LOOK = 0.2
LATE = "one has done nothing for 2 s and is killed"


async def serve(stop: asyncio.Event) -> None:
    """The life of the child."""
    await stop.wait()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each look has seen."""
    seen: list[bool] = []

    def look(pulse: object) -> bool:
        seen.append(beats(pulse))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(ringkv.process.children, "beats", look)
    monkeypatch.setattr(ringkv.process.children, "LOOK_SECONDS", LOOK)
    return seen


def start() -> Child:
    fork_server(*CHILDREN)
    return Child(ForkServerProcess.start, "one", LogStyle(), Life("one", __name__, (), watched=True))


async def test_a_child_that_hangs_is_killed_and_told(counted: list[bool], caplog: pytest.LogCaptureFixture) -> None:
    child = start()
    ending = asyncio.create_task(child.end())
    await eventually(lambda: True in counted)
    os.kill(child.pid, signal.SIGSTOP)
    assert await ending == -signal.SIGKILL
    assert counted[-HUNG_LOOKS:] == HUNG_LOOKS * [False]
    assert caplog.record_tuples == [("ringkv.supervisor", logging.ERROR, LATE)]


async def test_a_child_that_stood_still_with_its_parent_lives(
    counted: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    child = start()
    ending = asyncio.create_task(child.end())
    await eventually(lambda: True in counted)
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(2 * HUNG_LOOKS * LOOK)  # noqa: ASYNC251 - this is the loop that is to stand still
    os.kill(child.pid, signal.SIGCONT)
    seen = len(counted)
    await eventually(lambda: True in counted[seen:])
    assert not child.ended.done()
    await child.stop()
    assert await ending == 0
    assert not caplog.records


async def test_a_child_may_take_its_time_to_start(counted: list[bool]) -> None:
    child = start()
    os.kill(child.pid, signal.SIGSTOP)
    ending = asyncio.create_task(child.end())
    await eventually(lambda: len(counted) > HUNG_LOOKS or True in counted)
    assert not child.ended.done()
    os.kill(child.pid, signal.SIGCONT)
    await eventually(lambda: True in counted)
    await child.stop()
    assert await ending == 0
