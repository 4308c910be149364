"""A router's work on a request: sending it to a shard and taking the reply."""

import asyncio
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import Nowhere
from ringkv.resp import codec
from ringkv.router.lookup.link import Link


class Nobody:
    """A waiter that does nothing with its reply."""

    def answered(self, reply: Any, link: Link) -> None: ...

    def lost(self, link: Link) -> None: ...


@pytest.fixture
def link(nowhere: Nowhere, loop: asyncio.AbstractEventLoop) -> Link:
    async def connect() -> Link:
        made = Link()
        made.connection_made(nowhere)
        return made

    return loop.run_until_complete(connect())


@pytest.mark.parametrize("together", [1, 16, 128])
def test_requests_of_one_turn_and_their_replies(
    benchmark: BenchmarkFixture, link: Link, loop: asyncio.AbstractEventLoop, keys: list[bytes], together: int
) -> None:
    waiter, replies = Nobody(), together * codec.bulk(60 * b"v")

    async def turn() -> None:
        for key in keys[:together]:
            link.get(key, waiter)
        await asyncio.sleep(0)
        link.data_received(replies)

    benchmark(lambda: loop.run_until_complete(turn()))
