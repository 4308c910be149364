"""valkey-glide with its defaults."""

from collections.abc import AsyncIterator

import pytest
from glide import Batch, GlideClient, GlideClientConfiguration, NodeAddress

from tests.clients.conftest import Served


@pytest.fixture
async def client(server: Served) -> AsyncIterator[GlideClient]:
    client = await GlideClient.create(GlideClientConfiguration([NodeAddress("127.0.0.1", server.port)]))
    yield client
    await client.close()


async def test_values_come_byte_for_byte(client: GlideClient, sample: dict[bytes, bytes]) -> None:
    keys: list[str | bytes] = list(sample)
    assert [await client.get(key) for key in keys[:100]] == list(sample.values())[:100]
    assert await client.mget(keys) == list(sample.values())
    assert await client.type(keys[0]) == b"string"


@pytest.mark.parametrize("atomic", [False, True])
async def test_batches_do_as_they_come(client: GlideClient, sample: dict[bytes, bytes], *, atomic: bool) -> None:
    batch = Batch(is_atomic=atomic)
    for key in sample:
        batch.get(key)
    assert await client.exec(batch, raise_on_error=True) == list(sample.values())


async def test_keys_are_walked_over(client: GlideClient, example_pairs: dict[bytes, bytes]) -> None:
    found: list[bytes] = []
    cursor: object = b"0"
    while True:
        cursor, keys = await client.scan(cursor, count=1000)
        found += keys  # type: ignore[arg-type]
        if cursor == b"0":
            break
    assert sorted(found) == sorted(example_pairs)
