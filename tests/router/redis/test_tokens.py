"""Who may read at the Redis port: before AUTH nothing is answered, in the words of Redis."""

from pathlib import Path

import pytest

from ringkv.process.tokens import TokenFile
from tests.support.data import random_keys
from tests.support.fake_shard import Start, value
from tests.support.redis_port import Serve, told
from tests.support.resp import command

KEY = random_keys(1, seed=61)[0]


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    path = tmp_path / "tokens"
    path.write_text("one\ntwo\n")
    return TokenFile(path)


async def test_before_auth_nothing_is_answered(start: Start, serve: Serve, tokens: TokenFile) -> None:
    (shard,) = await start(a=value)
    client = await (await serve(shard, tokens=tokens)).connect()
    asked = [
        ("GET", KEY),
        ("get", KEY),
        ("MGET", KEY, KEY),
        ("SCAN", 0),
        ("INFO",),
        ("PING",),
        ("MULTI",),
        ("CLIENT", "REPLY", "OFF"),
        ("NONE",),
    ]
    client.send(*(command(*args) for args in asked))
    assert [told(await client.read()) for _ in asked] == ["NOAUTH Authentication required."] * len(asked)
    assert told(await client("HELLO", 3)).startswith("NOAUTH ")
    assert told(await client("AUTH", "three")).startswith("WRONGPASS ")
    assert shard.asked == []
    assert tokens.refused == len(asked) + 2


@pytest.mark.parametrize("said", [("AUTH", "two"), ("AUTH", "anybody", "one"), ("HELLO", 3, "AUTH", "default", "two")])
async def test_a_token_lets_read_until_reset(
    start: Start, serve: Serve, tokens: TokenFile, said: tuple[str | int, ...]
) -> None:
    client = await (await serve(*await start(a=value), tokens=tokens)).connect()
    client.send(command(*said), *(command("GET", KEY) for _ in range(40)))
    await client.read()
    assert [await client.read() for _ in range(40)] == [b"%b of a" % KEY] * 40
    assert told(await client("AUTH", "three")) == "WRONGPASS no token of this server"
    assert await client("GET", KEY) == b"%b of a" % KEY
    await client("RESET")
    assert told(await client("GET", KEY)).startswith("NOAUTH ")


async def test_who_has_not_said_a_token_may_send_little(serve: Serve, tokens: TokenFile) -> None:
    client = await (await serve(tokens=tokens)).connect()
    assert told(await client("MGET", *[KEY] * 11)) == "ERR Protocol error: unauthenticated multibulk length"


async def test_a_token_that_is_taken_out_ends_the_connections_that_said_it(
    start: Start, serve: Serve, tokens: TokenFile, tmp_path: Path
) -> None:
    port = await serve(*await start(a=value), tokens=tokens)
    gone, stays = await port.connect(), await port.connect()
    await gone("AUTH", "one")
    await stays("AUTH", "two")
    (tmp_path / "tokens").write_text("two\nthree\n")
    tokens.reload()
    port.port.server.recheck()
    with pytest.raises(ConnectionError):
        await gone("GET", KEY)
    assert await stays("GET", KEY) == b"%b of a" % KEY
    assert told(await (await port.connect())("AUTH", "one")).startswith("WRONGPASS ")
