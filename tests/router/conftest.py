"""Routers for tests: the real lookups, with shards that do as they are told."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

import ringkv.router.lookup.batch
import ringkv.router.lookup.lookup
from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from tests.support.fake_shard import FakeShard, Start, value
from tests.support.haproxy import Haproxies, Haproxy
from tests.support.processes import short_directory
from tests.support.router import Router, Serve, serve_with


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
async def serve(start: Start) -> AsyncIterator[Serve]:
    """Starts a router in this process, with one fake shard that answers as it is told."""
    async with AsyncExitStack() as stack:

        async def serving(answer: object = value, limits: ConnectionLimits = DEFAULT_LIMITS) -> Router:
            router = await serve_with(await start(a=answer), limits)
            stack.push_async_callback(router.runner.cleanup)
            return router

        yield serving


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> float:
    """So that nobody waits 5 seconds for what does not come."""
    monkeypatch.setattr(ringkv.router.lookup.lookup, "DEADLINE", 0.3)
    return 0.3


@pytest.fixture
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing but a shard's answer can end a lookup."""
    monkeypatch.setattr(ringkv.router.lookup.lookup, "DEADLINE", 60.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a batch is not looked up key by key as well where the machine is slow."""
    monkeypatch.setattr(ringkv.router.lookup.batch, "BATCH_PATIENCE", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a batch without an answer is looked up key by key soon."""
    monkeypatch.setattr(ringkv.router.lookup.batch, "BATCH_PATIENCE", 0.05)


@pytest.fixture
def haproxy() -> Iterator[Haproxy]:
    """Starts HAProxies that end with the test."""
    started = Haproxies()
    yield started
    started.end()
