"""Who may read at the HTTP port: nothing tells a key to who has no token, on the lane as on aiohttp's way."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringkv.process.tokens import TokenFile
from ringkv.router.http.unremarkable import unremarkable
from tests.support.fake_shard import FakeShard, Start, value
from tests.support.twins import KEY, OTHER, Twins, both, twins_of

GOOD = b"Authorization: Bearer one-token\r\n"
WRONG = [
    b"Authorization: Bearer one-tokem\r\n",
    b"Authorization: Bearer one-token2\r\n",
    b"Authorization: Basic one-token\r\n",
    b"Authorization: one-token\r\n",
    b"Authorization: Bearer\r\n",
    b"Authorization:\r\n",
    b"Authorization: Bearer one-token\r\nAuthorization: Bearer other\r\n",
    b"Authorization: Bearer other\r\nAuthorization: Bearer one-token\r\n",
    b"Proxy-Authorization: Bearer one-token\r\n",
    b"X: y\r\nX-Authorization: Bearer one-token\r\n",
    b"Accept: Authorization: Bearer one-token\r\n",
]
ACCEPTED = [
    GOOD,
    b"authorization:bearer one-token\r\n",
    b"AUTHORIZATION: BEARER  one-token  \r\n",
    b"User-Agent: x\r\nAuthorization: Bearer two.token==\r\n",
    b"Authorization: Bearer one-token\r\nX-Odd: leaves the lane\r\n",
]


def asked(target: bytes, headers: bytes = b"", method: bytes = b"GET", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n%b" % (method, target, headers, length, body)


def of_key(headers: bytes = b"", key: bytes = KEY) -> bytes:
    return asked(b"/%b" % key, headers)


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    path = tmp_path / "tokens"
    path.write_text("one-token\ntwo.token==\n")
    return TokenFile(path)


@pytest.fixture
async def shards(start: Start) -> list[FakeShard]:
    return await start(a=value)


@pytest.fixture
async def twins(shards: list[FakeShard], tokens: TokenFile) -> AsyncIterator[Twins]:
    async with twins_of(shards, tokens=tokens) as started:
        yield started


@pytest.mark.parametrize("headers", ACCEPTED)
async def test_a_token_in_any_spelling_lets_read(twins: Twins, headers: bytes) -> None:
    fast, slow = await both(twins, of_key(headers))
    assert fast == slow
    assert fast.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"%b of a" % KEY in fast


@pytest.mark.parametrize("headers", [b"", *WRONG])
async def test_without_a_token_that_counts_no_shard_is_asked(
    twins: Twins, shards: list[FakeShard], tokens: TokenFile, headers: bytes
) -> None:
    fast, slow = await both(twins, of_key(headers))
    assert fast == slow
    assert fast.startswith(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer")
    assert shards[0].asked == []
    assert tokens.refused == 2


async def test_who_has_said_a_token_says_it_with_each_request(twins: Twins, shards: list[FakeShard]) -> None:
    pieces = [of_key(GOOD), of_key(), of_key(GOOD), of_key(WRONG[0]), of_key(GOOD, OTHER)]
    fast, slow = await both(twins, *pieces)
    assert fast == slow
    assert re.findall(rb"HTTP/1\.1 (\d+)", fast)[:5] == [b"200", b"401", b"200", b"401", b"200"]
    assert len(shards[0].asked) == 6


@pytest.mark.parametrize("target", [b"/mget", b"/hot", b"/explain/%b" % KEY, b"/%b?dataset=x" % KEY, b"/no-key"])
@pytest.mark.parametrize("headers", [b"", WRONG[0]])
async def test_whatever_tells_of_keys_wants_a_token(twins: Twins, target: bytes, headers: bytes) -> None:
    method, body = (b"POST", KEY) if target == b"/mget" else (b"GET", b"")
    for answer in await both(twins, asked(target, headers, method, body)):
        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    for answer in await both(twins, asked(target, GOOD, method, body)):
        assert not answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("target", [b"/healthz", b"/readyz", b"/metrics", b"/stats", b"/ring", b"/openapi.json"])
async def test_what_tells_no_keys_wants_none(twins: Twins, target: bytes) -> None:
    for answer in await both(twins, asked(target)):
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_page_may_ask_beforehand_without_a_token(shards: list[FakeShard], tokens: TokenFile) -> None:
    async with twins_of(shards, cors="*", tokens=tokens) as twins:
        for answer in await both(twins, asked(b"/%b" % KEY, method=b"OPTIONS")):
            assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
            assert b"Access-Control-Allow-Headers: Authorization, " in answer


async def test_a_token_that_is_taken_out_does_not_count_from_the_next_request_on(
    twins: Twins, tokens: TokenFile, tmp_path: Path
) -> None:
    for answer in await both(twins, of_key(GOOD)):
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    (tmp_path / "tokens").write_text("two.token==\nthree\n")
    tokens.reload()
    for answer in await both(twins, of_key(GOOD)):
        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    for answer in await both(twins, of_key(b"Authorization: Bearer three\r\n")):
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_without_tokens_the_header_changes_nothing(shards: list[FakeShard]) -> None:
    async with twins_of(shards) as twins:
        for headers in (GOOD, *WRONG):
            fast, slow = await both(twins, of_key(headers))
            assert fast == slow
            assert fast.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_request_with_a_token_takes_the_lane() -> None:
    assert unremarkable(b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one-token\r\n\r\n")
