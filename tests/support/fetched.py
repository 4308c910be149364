"""What tests ask of a shard that fetches from a store."""

from tests.support.processes import eventually
from tests.support.published import KEYS, value_of
from tests.support.redis_port import told
from tests.support.served import Asker, Served

ALL = 1 << 40
"""A rate that holds nothing up."""


async def is_warm(served: Served) -> None:
    blocks = served.store.blocks
    await eventually(lambda: blocks.bytes == blocks.checked_bytes > 0)


async def all_right(client: Asker, version: int = 1) -> None:
    for first in range(0, len(KEYS), 100):
        keys = KEYS[first : first + 100]
        assert await client("MGET", *keys) == [value_of(version, key) for key in keys]


async def answers(client: Asker, key: bytes) -> bool:
    """Whether the key has its value, and is not refused."""
    reply = await client("GET", key)
    if isinstance(reply, bytes):
        assert reply == value_of(1, key)
        return True
    assert told(reply).startswith("NOTLEASED "), reply
    return False
