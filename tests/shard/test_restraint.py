"""Work behind requests takes a share of the processor while somebody asks, and all of it while nobody does."""

from types import SimpleNamespace

import pytest

from ringkv.shard.restraint import LONGEST, SHARE, SPACING, Restraint


class Machine:
    """A clock, the processor time that threads have used, and how long was slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.used = 0.0
        self.asked = 0
        self.asks = False
        monkeypatch.setattr("ringkv.shard.restraint.time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr("ringkv.shard.restraint.asyncio", SimpleNamespace(sleep=self.sleep))
        monkeypatch.setattr("ringkv.shard.restraint._threads_used", lambda: self.used)
        self.restraint = Restraint(lambda: self.asked)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asked += self.asks

    async def work(self, pieces: int, seconds: float) -> float:
        """Seconds that so many pieces take, each of which needs a processor for so long."""
        began = self.now
        for _ in range(pieces):
            self.asked += self.asks
            await self.restraint.wait()
            self.now += seconds
            self.used += seconds
        return self.now - began


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def test_while_nobody_asks_nothing_waits(machine: Machine) -> None:
    assert await machine.work(100, 0.01) == pytest.approx(1.0)


async def test_while_somebody_asks_threads_have_a_share_of_a_processor(machine: Machine) -> None:
    machine.asks = True
    assert await machine.work(100, 0.01) == pytest.approx(1.0 / SHARE, rel=0.05)


async def test_what_was_asked_before_it_begins_does_not_count(machine: Machine) -> None:
    machine.asked += 100
    machine.used += 1.0
    await machine.restraint.begin()
    assert await machine.work(10, 0.01) == pytest.approx(0.1)


async def test_who_asks_when_it_begins_is_seen(machine: Machine) -> None:
    machine.asks = True
    await machine.restraint.begin()
    assert await machine.restraint.wait()


async def test_what_needs_no_processor_is_hardly_held_up(machine: Machine) -> None:
    """A store that takes its time may have as many requests as before."""
    machine.asks = True
    for _ in range(100):
        machine.asked += 1
        assert await machine.restraint.wait()
        machine.now += 0.05
    assert machine.now == pytest.approx(100 * (0.05 + SPACING))


async def test_after_a_long_piece_it_is_looked_again_whether_somebody_asks(machine: Machine) -> None:
    machine.asks = True
    await machine.work(1, 10.0)
    machine.asked += 1
    machine.asks = False
    began = machine.now
    assert not await machine.restraint.wait()
    assert machine.now - began == pytest.approx(LONGEST)
