"""CONFIG SET: the one setting that a shard lets be changed, and what it says to everything else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.data import random_keys
from tests.support.packed import pack_pairs
from tests.support.redis_port import told
from tests.support.served import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(pack_pairs(tmp_path, {key: key for key in random_keys(10, seed=3)})) as served:
        yield served


async def test_the_rate_is_said_as_it_is_on_the_command_line_and_told_in_bytes(served: Served) -> None:
    client = await served.connect()
    for said, bytes_a_second in ((b"10M", 10 << 20), (b"1048576", 1 << 20), (b"2 GiB", 2 << 30), (b"0", 0)):
        assert await client("CONFIG", "SET", "Fetch-Rate", said) == b"OK"
        assert await client("CONFIG", "GET", "fetch*") == [b"fetch-rate", b"%d" % bytes_a_second]
        assert served.state.fetches.rate == bytes_a_second


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (
            ("fetch-rate", "fast"),
            "ERR CONFIG SET failed (possibly related to argument 'fetch-rate') - not a size: 'fast' ",
        ),
        (("fetch-rate", "-1"), "ERR CONFIG SET failed (possibly related to argument 'fetch-rate') - not a size: '-1' "),
        (
            ("fetch-rate", b"\xff\r\n"),
            "ERR CONFIG SET failed (possibly related to argument 'fetch-rate') - not a size: ",
        ),
        (("maxmemory", "1"), "ERR Unknown option or number of arguments for CONFIG SET - 'maxmemory'"),
        (("fetch-rate",), "ERR wrong number of arguments for 'config|set' command"),
        ((), "ERR wrong number of arguments for 'config|set' command"),
    ],
)
async def test_what_cannot_be_set_is_told_as_redis_tells_it(
    served: Served, args: tuple[bytes | str, ...], error: str
) -> None:
    client = await served.connect()
    assert told(await client("CONFIG", "SET", *args)).startswith(error)
    assert served.state.fetches.rate == 0


async def test_whoever_has_not_said_the_secret_changes_nothing(served: Served) -> None:
    served.state.secret = b"secret"
    client = await served.connect()
    assert told(await client("CONFIG", "SET", "fetch-rate", "1")).startswith("NOAUTH ")
    assert served.state.fetches.rate == 0
    assert await client("AUTH", "secret") == b"OK"
    assert await client("CONFIG", "SET", "fetch-rate", "1") == b"OK"


async def test_other_parts_of_config_are_refused(served: Served) -> None:
    client = await served.connect()
    assert told(await client("CONFIG", "REWRITE")).startswith("ERR of CONFIG only GET and SET ")
