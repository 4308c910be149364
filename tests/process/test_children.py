"""Children outlive the server that has forked them: a fork that fails ends it, and so does the killer for memory."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator

import pytest

from ringkv.process.children import Child, Life
from ringkv.process.forking import CHILDREN, ForkServer
from ringkv.process.logs import LogStyle
from tests.support.processes import eventually

GOES_ON = "the process that has forked one has ended; one goes on"


async def serve(stop: asyncio.Event) -> None:
    """The life of the child."""
    await stop.wait()


def start(server: ForkServer) -> Child:
    return Child(server.start, "one", LogStyle(), Life("one", __name__, (), watched=True))


@pytest.fixture
async def child(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Child]:
    """A child whose server has ended."""
    server = ForkServer(*CHILDREN)
    child = start(server)
    pid: int = server._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it was killed
    await eventually(lambda: caplog.record_tuples == [("ringkv.supervisor", logging.WARNING, GOES_ON)])
    other = start(server)  # whereupon multiprocessing takes all children of the first server for ended
    await other.stop()
    yield child
    assert child.ended.done()


async def test_a_child_is_stopped_without_the_server_that_has_forked_it(child: Child) -> None:
    assert not child.ended.done()
    await child.stop()


async def test_a_child_that_dies_without_the_server_that_has_forked_it_has_ended(child: Child) -> None:
    ending = asyncio.create_task(child.end())
    await asyncio.sleep(0)
    assert not ending.done()
    os.kill(child.pid, signal.SIGKILL)
    assert await ending == 255  # nobody has learned why
