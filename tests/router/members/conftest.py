"""Routers that serve a version, for tests of what comes after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ringkv.cluster.limits import GATE
from tests.support.fake_shard import Start, nothing
from tests.support.routed import A, Route, Routed


@pytest.fixture
async def route(start: Start) -> AsyncIterator[Route]:
    """Starts fake shards and a router of them, which serves version A."""
    async with AsyncExitStack() as stack:

        async def routing(names: str = "xy", replicas: int = 1, gate: float = GATE) -> Routed:
            routed = Routed(await start(**dict.fromkeys(names, nothing)), replicas, gate)

            async def end() -> None:
                routed.running.cancel()
                await asyncio.gather(routed.running, return_exceptions=True)

            stack.push_async_callback(end)
            await routed.serves(A)
            return routed

        yield routing
