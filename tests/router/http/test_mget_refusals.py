"""POST /mget refuses what it cannot answer: with the line that is no key, the limit, or when to come again."""

import asyncio

import pytest

import ringkv.router.http.mget
import ringkv.router.lookup.batch
from ringkv.process.connections import ConnectionLimits
from ringkv.router.policy import MGET_BYTES, MGET_KEYS
from tests.support.fake_shard import not_leased, silence
from tests.support.http import read_response, request_bytes, vanish
from tests.support.mget import FEW, KEYS, answerer, asking, held, lines, one_line, post
from tests.support.processes import PATIENCE, eventually
from tests.support.router import Serve


@pytest.mark.parametrize(
    ("body", "number", "shown"),
    [
        (b"\n", 1, "''"),
        (lines(FEW) + b"\n", 4, "''"),
        (lines(FEW[:1]) + b"\r\n" + lines(FEW), 2, "''"),
        (lines(FEW) + b" ", 4, "' '"),
        (lines(FEW) + b" " + FEW[0], 4, f"' {FEW[0].decode()}'"),
        (lines(FEW) + FEW[0] + b" value\n", 4, f"'{FEW[0].decode()} value'"),
        (lines(FEW) + FEW[0] + b"\r\r\n", 4, repr(f"{FEW[0].decode()}\r")),
        (lines(FEW) + FEW[0][:-1] + b"\n" + lines(FEW), 4, f"'{FEW[0][:-1].decode()}'"),
        (FEW[0].replace(b"-4", b"-1"), 1, f"'{FEW[0].decode().replace('-4', '-1')}'"),
        (lines(KEYS) + b"\xff\x00" + lines(KEYS), 3501, "'\\xff\\x00"),
        (lines(FEW) + b"x" * 100_000, 4, "'" + "x" * 60 + "'"),
        (b",".join(FEW), 1, ""),
    ],
)
async def test_a_line_that_is_no_key_is_400_with_its_number(serve: Serve, body: bytes, number: int, shown: str) -> None:
    router = await serve()
    response = await post(router, body)
    assert response.status == 400
    assert one_line(response).startswith(f"line {number}: not a UUID version 4: {shown}")
    assert router.shards[0].asked == []


async def test_a_body_that_is_said_to_be_too_large_is_413_without_being_read(serve: Serve) -> None:
    async with asking(await serve(), f"Content-Length: {MGET_BYTES + 1}\r\n") as reader:
        response = await read_response(reader)
    assert response.status == 413
    assert one_line(response) == f"a body of {MGET_BYTES + 1} bytes: send at most {MGET_BYTES} in one request\n"


async def test_a_body_that_turns_out_to_be_too_large_is_413(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringkv.router.http.mget, "MGET_BYTES", 1000)
    serving = await serve()
    body = b"%x\r\n%b\r\n" % (len(lines(KEYS)), lines(KEYS))
    async with asking(serving, "Transfer-Encoding: chunked\r\n", body) as reader:
        response = await read_response(reader)
    assert response.status == 413
    assert one_line(response) == "a body of more than 1000 bytes: send at most so many in one request\n"


@pytest.mark.parametrize("end", [b"\n", b""])
async def test_too_many_keys_are_413(serve: Serve, end: bytes) -> None:
    serving = await serve()
    response = await post(serving, (FEW[0] + b"\n") * MGET_KEYS + FEW[1] + end)
    assert response.status == 413
    assert one_line(response) == f"more than {MGET_KEYS} keys: send at most so many in one request\n"
    assert serving.shards[0].asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405_and_told_what_is_allowed(serve: Serve, method: str) -> None:
    response = await (await serve())("/mget", method, "Content-Length: 0\r\n" if method == "PUT" else "")
    assert (response.status, response.headers["Allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize("query", ["?format=xml", "?format=", "?format=JSON"])
async def test_an_unknown_format_is_400(serve: Serve, query: str) -> None:
    response = await post(await serve(), lines(FEW), query)
    assert response.status == 400
    assert one_line(response).endswith(": want data or json\n")


async def test_a_body_that_is_badly_framed_is_400(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    serving = await serve()
    async with asking(serving, "Transfer-Encoding: chunked\r\n", b"25\r\n%b\r\nzz\r\n" % lines(FEW[:1])) as reader:
        assert (await read_response(reader)).status == 400
        assert await reader.read() == b""
    assert (await post(serving, lines(FEW))).status == 200
    assert caplog.text == ""


async def test_a_badly_framed_body_that_nobody_wants_ends_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    serving = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    writer.write(request_bytes("/healthz", "GET", "Transfer-Encoding: chunked\r\n") + b"zz\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await read_response(reader)).status == 200
        assert await reader.read() == b""
    writer.close()
    assert caplog.text == ""


@pytest.mark.parametrize("answer", [silence, not_leased])
@pytest.mark.usefixtures("short_deadline")
async def test_when_nothing_can_be_told_it_is_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(ringkv.router.lookup.batch, "BATCH_PATIENCE", 0.05)
    response = await post(await serve(answer), lines(KEYS))
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    one_line(response)


@pytest.mark.parametrize("body", [b"", lines(FEW)])
@pytest.mark.usefixtures("short_deadline")
async def test_without_any_shard_it_is_503(serve: Serve, body: bytes) -> None:
    serving = await serve()
    serving.lookups.topology = None
    response = await post(serving, body, headers="" if body else "Content-Length: 0\r\n")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert one_line(response) == "no shard that owns this key could be reached\n"


async def test_more_keys_than_can_be_held_are_503_until_others_have_gone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringkv.router.http.mget, "MGET_HELD", 200)
    serving = await serve()
    body = lines(FEW)
    async with asking(serving, f"Content-Length: {len(body) + 37}\r\n", body):
        await eventually(lambda: held(serving) == len(body))
        response = await post(serving, body)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert one_line(response) == "200 bytes of keys wait already; try again later\n"
        assert serving.lookups.counters.refused == 1
    await eventually(lambda: not held(serving))
    assert (await post(serving, body)).status == 200


async def test_keys_of_a_client_that_goes_while_they_wait_for_a_turn_are_not_held(serve: Serve) -> None:
    serving = await serve()
    body = lines(FEW)
    async with answerer(serving)._turn:  # noqa: SLF001 - as if keys of another request were being read
        _, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(request_bytes("/mget", "POST", f"Content-Length: {len(body) + 37}\r\n") + body)
        await eventually(lambda: held(serving) == len(body))
        vanish(writer)
        await eventually(lambda: not held(serving))


async def test_a_client_that_sends_nothing_more_is_given_up(serve: Serve) -> None:
    async with asking(await serve(limits=ConnectionLimits(body=0.1)), "Content-Length: 1000\r\n", lines(FEW)) as reader:
        response = await read_response(reader)
    assert response.status == 408
    assert one_line(response) == "nothing more of the body has come in time\n"
