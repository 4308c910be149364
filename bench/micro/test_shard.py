"""A shard's work on a request: the lookup, and reading and answering RESP."""

import asyncio

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.conftest import Nowhere
from ringkv.cluster.lease import Offered
from ringkv.resp import codec
from ringkv.shard.commands import COMMANDS
from ringkv.shard.connection import ShardConnection
from ringkv.shard.state import ShardState
from ringkv.shard.store import Store
from ringkv.shard.version import Version
from ringkv.shard.warmup import Pace


@pytest.fixture
def connection(store: Store, nowhere: Nowhere, loop: asyncio.AbstractEventLoop) -> ShardConnection:
    async def connect() -> ShardConnection:
        state = ShardState("shard-1", leased=True)
        manifest = store.dataset.manifest
        version = Version(store.dataset, Offered(0, manifest.dataset_id, manifest.partitions), Pace(0))
        version.store = store
        await state.versions.offer(version)
        made = ShardConnection(state, COMMANDS)
        made.connection_made(nowhere)
        return made

    return loop.run_until_complete(connect())


def test_1000_lookups(benchmark: BenchmarkFixture, store: Store, keys: list[bytes]) -> None:
    benchmark(lambda: [store.get(key) for key in keys])


@pytest.mark.parametrize("pipelined", [1, 16, 128])
def test_requests_that_arrive_together(
    benchmark: BenchmarkFixture, connection: ShardConnection, nowhere: Nowhere, keys: list[bytes], pipelined: int
) -> None:
    data = codec.get_commands(keys[:pipelined])
    benchmark(connection.data_received, data)
    assert nowhere.written


def test_100_keys_in_one_mget(benchmark: BenchmarkFixture, connection: ShardConnection, keys: list[bytes]) -> None:
    benchmark(connection.data_received, codec.array([codec.bulk(arg) for arg in (b"MGET", *keys[:100])]))
