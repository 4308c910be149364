"""The rate of what is fetched ahead, which can be changed while it is waited for, and what is told of failures."""

import asyncio
import logging
import time

import pytest

from ringkv.cluster.errors import StoreError
from ringkv.dataset.fetches import Fetches


async def test_no_more_is_fetched_in_a_second_than_the_rate_allows() -> None:
    fetches = Fetches(1_000_000)
    began = time.monotonic()
    for _ in range(5):
        await fetches.pace(100_000)
    assert 0.3 <= time.monotonic() - began <= 2
    assert 0.3 <= fetches.throttled <= 2


async def test_without_a_rate_nothing_waits() -> None:
    fetches = Fetches()
    async with asyncio.timeout(5):
        for _ in range(1000):
            await fetches.pace(1 << 40)
    assert fetches.throttled < 1


@pytest.mark.parametrize("rate", [0, 1 << 50])
async def test_a_rate_that_is_raised_lets_go_what_waits_for_it(rate: int) -> None:
    fetches = Fetches(1)
    await fetches.pace(1 << 20)
    waiting = asyncio.create_task(fetches.pace(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    fetches.rate = rate
    async with asyncio.timeout(5):
        await waiting


async def test_a_rate_that_is_lowered_holds_up_what_comes() -> None:
    fetches = Fetches(1 << 50)
    await fetches.pace(1)
    fetches.rate = 1
    await fetches.pace(1 << 20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await fetches.pace(1)


def test_a_store_that_fails_is_told_once_and_once_when_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    fetches = Fetches()
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(StoreError), fetches.counting(10):
            raise StoreError("s3://bucket/x: cannot be reached")
    assert fetches.failing == "s3://bucket/x: cannot be reached"
    for _ in range(3):
        with fetches.counting(10):
            pass
    assert not fetches.failing
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert (fetches.errors, fetches.requests, fetches.bytes, fetches.in_flight) == (3, 3, 30, 0)


def test_what_nobody_has_asked_for_lately_is_not_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    fetches = Fetches()
    with pytest.raises(StoreError), fetches.counting(10):
        raise StoreError("down")
    told = [fetches.unavailable]
    fetches.refuse("down")
    told.append(fetches.unavailable)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert [*told, fetches.unavailable] == ["", "down", ""]
