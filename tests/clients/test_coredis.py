"""coredis with its defaults."""

import coredis

from tests.clients.conftest import Served


async def test_values_come_byte_for_byte(server: Served, sample: dict[bytes, bytes]) -> None:
    client = coredis.Redis(port=server.port)
    async with client:
        assert [await client.get(key) for key in list(sample)[:100]] == list(sample.values())[:100]
        assert await client.mget(list(sample)) == tuple(sample.values())
        assert await client.type(next(iter(sample))) == b"string"


async def test_pipelines_and_iterators_do_as_they_come(
    server: Served, sample: dict[bytes, bytes], example_pairs: dict[bytes, bytes]
) -> None:
    client = coredis.Redis(port=server.port)
    async with client:
        async with client.pipeline() as pipeline:
            replies = [pipeline.get(key) for key in sample]
        assert [await reply for reply in replies] == list(sample.values())
        assert sorted([key async for key in client.scan_iter(count=1000)]) == sorted(example_pairs)
