"""Routers for tests: the real lookups, with shards that do as they are told."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

import router.lookup
from cluster.address import Address
from tests.support.fake_shard import FakeShard, Start, value
from tests.support.processes import short_directory


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts fake shards, each with its own way to answer, that end with the test."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_directory())

        async def started(**answers: Callable[[FakeShard, bytes], bytes | None]) -> list[FakeShard]:
            shards = []
            for name, answer in (answers or {"a": value}).items():
                shard = FakeShard(name, Address(f"{folder}/{name}", None), answer)
                await shard.start()
                stack.push_async_callback(shard.end)
                shards.append(shard)
            return shards

        yield started


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> float:
    """So that nobody waits 5 seconds for what does not come."""
    monkeypatch.setattr(router.lookup, "DEADLINE", 0.3)
    return 0.3
