"""Calls in threads are done where no thread can be started any more, and a process ends then as at other times."""

import asyncio
import threading

import pytest

from ringkv.process.run import run


class Room:
    """Room for threads, which ends when `full` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        start = threading.Thread.start

        def started(thread: threading.Thread) -> None:
            if self.full:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", started)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    # What a process sets for its life is not for that of the tests.
    for name in ("gc.freeze", "gc.set_threshold", "sys.setswitchinterval", "signal.signal"):
        monkeypatch.setattr(name, lambda *_given: None)
    monkeypatch.setattr("ringkv.process.run.go_first", lambda: None)
    return Room(monkeypatch)


def test_where_no_thread_was_started_calls_are_done_all_the_same(room: Room) -> None:
    async def serve(_stop: asyncio.Event) -> None:
        room.full = True
        assert await asyncio.gather(*(asyncio.to_thread(pow, 2, number) for number in range(3))) == [1, 2, 4]
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    run(serve)


def test_threads_that_are_busy_do_what_others_would(room: Room) -> None:
    async def serve(_stop: asyncio.Event) -> None:
        gate = threading.Event()
        busy = asyncio.create_task(asyncio.to_thread(gate.wait, 30))
        await asyncio.sleep(0)
        room.full = True
        others = [asyncio.create_task(asyncio.to_thread(threading.get_ident)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        gate.set()
        assert await busy
        (thread,) = set(await asyncio.gather(*others))
        assert thread != threading.get_ident()

    run(serve)


def test_a_process_ends_when_its_threads_have_ended(room: Room) -> None:
    ended = threading.Event()

    async def serve(_stop: asyncio.Event) -> None:
        await asyncio.to_thread(int)
        room.full = True
        gate = threading.Event()

        def last() -> None:
            assert gate.wait(30)
            ended.set()

        asyncio.get_running_loop().run_in_executor(None, last)
        gate.set()

    run(serve)
    assert ended.is_set()
