"""A Redis port for tests, in front of shards that do as they are told."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ringkv.process.address import Address
from ringkv.process.connections import DEFAULT_LIMITS, ConnectionLimits
from ringkv.process.tokens import TokenFile
from ringkv.router.lookup.lookup import Lookups
from tests.support.fake_shard import (
    FakeShard,
    topology_of,
)
from tests.support.processes import short_directory
from tests.support.redis_port import Serve, ServedPort


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a Redis port in front of the shards, or of nobody."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_directory())

        async def served(
            *shards: FakeShard,
            replicas: int = 1,
            tokens: TokenFile | None = None,
            hot_memory: int = 0,
            limits: ConnectionLimits = DEFAULT_LIMITS,
        ) -> ServedPort:
            lookups = Lookups(hot_memory=hot_memory)
            if shards:
                lookups.swap(await topology_of(list(shards), replicas))
            port = ServedPort(lookups, Address(f"{folder}/redis", None), limits, tokens)
            await port.start()
            stack.push_async_callback(port.end)
            return port

        yield served
