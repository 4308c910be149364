"""Much work is done in turns: what is due meanwhile is not held up by it, and nothing of it is lost."""

import asyncio
import time

import pytest

from ringkv.process.turns import LONG, TURN_SECONDS, Turns


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_what_is_due_meanwhile_waits_for_no_more_than_a_turn() -> None:
    turns, done = Turns(), []

    def work(number: int) -> None:
        busy(TURN_SECONDS / 2)
        done.append(number)

    for number in range(40):
        turns.take(lambda number=number: work(number))  # type: ignore[misc]
    seen = []
    while len(done) < 40:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == list(range(40))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= 3


async def test_a_defect_in_one_turn_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    turns, done = Turns(), asyncio.Event()

    def defect() -> None:
        raise RuntimeError("a defect")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    turns.take(defect)
    turns.take(done.set)
    await asyncio.wait_for(done.wait(), 10)
    assert not caplog.records


async def test_those_who_come_together_use_up_a_turn() -> None:
    turns = Turns()
    assert turns.at_once(LONG + 1)
    busy(2 * TURN_SECONDS)
    assert not turns.at_once(LONG + 1)
    assert turns.at_once(LONG)
    await asyncio.sleep(0)
    assert turns.at_once(LONG + 1)


async def test_nobody_overtakes_those_who_wait() -> None:
    turns, done = Turns(), asyncio.Event()
    turns.take(done.set)
    assert not turns.at_once(LONG + 1)
    await done.wait()
    assert turns.at_once(LONG + 1)
