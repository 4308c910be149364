"""A body is never decoded: what is 2 MB on the way and 2 GB behind its encoding costs no more than 2 MB."""

import zlib

import pytest

from tests.support.bomb import BOMB, unhindered
from tests.support.http import fetch
from tests.support.mget import FEW, lines, one_line, pairs, post
from tests.support.router import Serve


def test_the_bomb_is_one() -> None:
    assert 1 << 20 < len(BOMB) < 3 << 20
    decoder = zlib.decompressobj(31)
    assert sum(len(decoder.decompress(BOMB[at : at + 4096])) for at in range(0, 1 << 16, 4096)) > 1 << 25


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"])
async def test_an_encoded_body_of_mget_is_415(serve: Serve, encoding: str) -> None:
    router = await serve()
    async with unhindered():
        response = await post(router, BOMB, headers=f"Content-Encoding: {encoding}\r\n")
    assert (response.status, response.headers["Accept-Encoding"]) == (415, "identity")
    assert one_line(response) == "an encoded body: send it as it is\n"


async def test_a_body_that_is_said_to_be_as_it_is_is_taken(serve: Serve) -> None:
    response = await post(await serve(), lines(FEW), headers="Content-Encoding: identity\r\n")
    assert (response.status, response.body) == (200, pairs(FEW))


@pytest.mark.parametrize("body", [BOMB, b"no gzip at all"], ids=["bomb", "corrupt"])
@pytest.mark.parametrize(
    ("request_line", "status"),
    [(f"GET /{FEW[0].decode()}", 200), ("GET /ring", 200), ("POST /nowhere/at/all", 404)],
)
async def test_an_encoded_body_that_nobody_wants_changes_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture, body: bytes, request_line: str, status: int
) -> None:
    router = await serve()
    method, target = request_line.split()
    async with unhindered():
        answer = await fetch("127.0.0.1", router.port, target, method, "Content-Encoding: gzip\r\n", body)
    assert answer.status == status
    assert caplog.records == []
