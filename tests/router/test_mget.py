"""POST /mget: the data file's own lines for the keys asked for, all of them or visibly not."""

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import router.batch
import router.mget
from cluster import resp
from router.mget import Mget
from router.policy import MGET_BYTES, MGET_KEYS
from tests.support.data import random_keys
from tests.support.fake_shard import FakeShard, Start, close, each, not_loaded, nothing, silence, topology_of, value
from tests.support.http import Response, fetch, read_chunks, read_response, request_bytes
from tests.support.processes import PATIENCE, eventually
from tests.support.router import Router, Serve

KEYS = random_keys(3500, seed=41)
FEW = KEYS[:3]
CUT_OFF = (asyncio.IncompleteReadError, ConnectionResetError)


def lines(keys: list[bytes]) -> bytes:
    return b"".join(b"%b\n" % key for key in keys)


def pairs(keys: list[bytes]) -> bytes:
    return b"".join(b"%b %b of a\n" % (key, key) for key in keys)


async def post(router: Router, body: bytes, query: str = "", headers: str = "") -> Response:
    return await fetch("127.0.0.1", router.port, f"/mget{query}", "POST", headers, body)


@asynccontextmanager
async def asking(router: Router, head: str = "", body: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    """A request on a connection of its own, with the head's further lines and all of the body as they are.

    Little of the answer is read ahead.
    """
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.setblocking(False)
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", router.port))
        reader, writer = await asyncio.open_connection(sock=client)
        try:
            writer.write(request_bytes("/mget", "POST", head) + body)
            yield reader
        finally:
            writer.transport.abort()


def held(router: Router) -> int:
    """The bytes of keys that requests hold."""
    app = router.runner.app
    assert app is not None
    [owner] = {
        owner for route in app.router.routes() if isinstance(owner := getattr(route.handler, "__self__", None), Mget)
    }
    return owner._held  # noqa: SLF001 - nothing else shows it


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}\r\n"


def one_line(response: Response) -> str:
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    text = response.body.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


async def test_the_answer_is_lines_of_the_data_file_in_the_order_asked(serve: Serve) -> None:
    router = await serve()
    asked = [*reversed(FEW), FEW[0], FEW[0]]
    response = await post(router, lines(asked))
    assert (response.status, response.body) == (200, pairs(asked))
    headers = dict(response.headers)
    assert headers.pop("Date")
    assert headers.pop("Server").startswith("ringkv/")
    assert headers == {
        "ETag": '"dataset-1"',
        "Content-Type": "text/plain; charset=utf-8",
        "Trailer": "Ringkv-Missing",
        "Transfer-Encoding": "chunked",
    }
    assert response.trailers == {"Ringkv-Missing": "0"}
    assert router.lookups.counters.batched == len(asked)


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2000, 3500])
async def test_any_number_of_keys_is_answered(serve: Serve, count: int) -> None:
    response = await post(await serve(), lines(KEYS[:count]), headers="" if count else "Content-Length: 0\r\n")
    assert (response.status, response.body) == (200, pairs(KEYS[:count]))
    assert response.trailers == {"Ringkv-Missing": "0"}


@pytest.mark.parametrize("count", [3, 3500])
async def test_keys_that_are_not_there_are_left_out_and_counted(serve: Serve, count: int) -> None:
    gone = set(KEYS[:count:3])
    router = await serve(lambda shard, key: resp.NULL if key in gone else value(shard, key))
    response = await post(router, lines(KEYS[:count]))
    assert response.body == pairs([key for key in KEYS[:count] if key not in gone])
    assert response.trailers == {"Ringkv-Missing": str(len(gone))}


async def test_all_may_be_missing(serve: Serve) -> None:
    response = await post(await serve(nothing), lines(KEYS))
    assert (response.status, response.body, response.trailers) == (200, b"", {"Ringkv-Missing": "3500"})


@pytest.mark.parametrize(
    "body",
    [
        lines(FEW)[:-1],
        lines(FEW).upper(),
        lines(FEW).replace(b"\n", b"\r\n"),
        lines(FEW).replace(b"\n", b"\r\n")[:-1],
        b"%b\r\n%b\n%b" % (FEW[0].upper(), FEW[1], FEW[2]),
    ],
)
async def test_keys_may_be_written_in_other_ways(serve: Serve, body: bytes) -> None:
    response = await post(await serve(), body)
    assert (response.status, response.body) == (200, pairs(FEW))


@pytest.mark.parametrize("content", [b"", b" ", b"a\rb\r", b"\x00\xff\xfe", b"0\r\n\r\n", b"x" * 300_000], ids=len)
async def test_any_bytes_are_a_value(serve: Serve, content: bytes) -> None:
    response = await post(await serve(lambda _shard, _key: resp.bulk(content)), lines(FEW))
    assert response.body == b"".join(b"%b %b\n" % (key, content) for key in FEW)


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
        (lines(KEYS) + b"\xff\x00" + lines(KEYS), 3501, "'\\\\xff\\x00"),
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


@pytest.mark.parametrize("size", [1, 7, 36, 37, 38, 64, 1000])
async def test_wherever_the_body_is_cut_its_keys_are_the_same(serve: Serve, size: int) -> None:
    body = lines(KEYS[:50]).replace(b"\n", b"\r\n")
    cut = b"".join(b"%x\r\n%b\r\n" % (len(piece := body[at : at + size]), piece) for at in range(0, len(body), size))
    async with asking(await serve(), "Transfer-Encoding: chunked\r\n", cut + b"0\r\n\r\n") as reader:
        assert (await read_response(reader)).body == pairs(KEYS[:50])


async def test_a_body_that_is_said_to_be_too_large_is_413_without_being_read(serve: Serve) -> None:
    async with asking(await serve(), f"Content-Length: {MGET_BYTES + 1}\r\n") as reader:
        response = await read_response(reader)
    assert response.status == 413
    assert one_line(response) == f"a body of {MGET_BYTES + 1} bytes: send at most {MGET_BYTES} in one request\n"


async def test_a_body_that_turns_out_to_be_too_large_is_413(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router.mget, "MGET_BYTES", 1000)
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


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405_and_told_what_is_allowed(serve: Serve, method: str) -> None:
    response = await (await serve())("/mget", method, "Content-Length: 0\r\n" if method == "PUT" else "")
    assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("query", ["?format=xml", "?format=", "?format=JSON"])
async def test_an_unknown_format_is_400(serve: Serve, query: str) -> None:
    response = await post(await serve(), lines(FEW), query)
    assert response.status == 400
    assert one_line(response).endswith(": want data or json\n")


async def test_the_data_files_format_has_a_name_too(serve: Serve) -> None:
    assert (await post(await serve(), lines(FEW), "?format=data")).body == pairs(FEW)


async def test_a_client_that_knows_no_chunks_is_told(serve: Serve) -> None:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", (await serve()).port)
        writer.write(b"POST /mget HTTP/1.0\r\nContent-Length: 37\r\n\r\n" + lines(FEW[:1]))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 505 ")
    assert answer.endswith(b"\r\n\r\nPOST /mget streams its answer, which takes HTTP/1.1\n")


async def test_a_body_that_is_badly_framed_is_400(serve: Serve) -> None:
    serving = await serve()
    async with asking(serving, "Transfer-Encoding: chunked\r\n", b"25\r\n%b\r\nzz\r\n" % lines(FEW[:1])) as reader:
        assert (await read_response(reader)).status == 400
    assert (await post(serving, lines(FEW))).status == 200


async def test_json_has_the_dataset_the_values_and_what_is_missing(serve: Serve) -> None:
    odd = [b"", b'"\\\n\x00</script>', "naïve 🦊".encode(), b"\xff\xfe", None]
    wanted = dict(zip(KEYS, odd * 700, strict=True))
    found = {key: resp.NULL if content is None else resp.bulk(content) for key, content in wanted.items()}
    router = await serve(lambda _shard, key: found[key])
    response = await post(router, lines([*KEYS, *KEYS[:10]]).upper(), "?format=json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["ETag"] == '"dataset-1"'

    def no_name_twice(members: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(members)) == len(members)
        return dict(members)

    body = json.loads(response.body, object_pairs_hook=no_name_twice)
    assert list(body) == ["dataset", "values", "missing"]
    assert body["dataset"] == "dataset-1"
    assert body["missing"] == [key.decode() for key, content in wanted.items() if content is None]
    assert response.trailers == {"Ringkv-Missing": "700"}
    assert body["values"] == {
        key.decode(): {"base64": b64encode(content).decode()} if content == b"\xff\xfe" else content.decode()
        for key, content in wanted.items()
        if content is not None
    }


@pytest.mark.parametrize(("asked", "answer"), [([], value), (FEW, nothing), (KEYS, nothing)])
async def test_json_without_any_value_is_json(serve: Serve, asked: list[bytes], answer: object) -> None:
    response = await post(await serve(answer), lines(asked), "?format=json", "" if asked else "Content-Length: 0\r\n")
    assert response.json == {"dataset": "dataset-1", "values": {}, "missing": [key.decode() for key in asked]}


async def test_the_connection_goes_on_afterwards(serve: Serve) -> None:
    router = await serve()
    body = lines(KEYS)
    async with asking(router, length(body), body + request_bytes(f"/{KEYS[0].decode()}") * 2) as reader:
        assert (await read_response(reader)).body == pairs(KEYS)
        for _ in range(2):
            assert (await read_response(reader)).body == b"%b of a" % KEYS[0]


@pytest.mark.parametrize("answer", [silence, not_loaded])
@pytest.mark.usefixtures("short_deadline")
async def test_when_nothing_can_be_told_it_is_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(router.batch, "BATCH_PATIENCE", 0.05)
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
    monkeypatch.setattr(router.mget, "MGET_HELD", 200)
    serving = await serve()
    body = lines(FEW)
    async with asking(serving, f"Content-Length: {len(body) * 2}\r\n", body):
        await eventually(lambda: held(serving) == len(body))
        response = await post(serving, body)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert one_line(response) == "200 bytes of keys wait already; try again later\n"
        assert serving.lookups.counters.refused == 1
    await eventually(lambda: not held(serving))
    assert (await post(serving, body)).status == 200


class Windows:
    """A shard whose batches are answered as each is told; `told` counts them."""

    def __init__(self, *answers: object) -> None:
        self.told = 0
        self._answers = answers

    def __call__(self, shard: FakeShard, keys: list[bytes]) -> bytes | None:
        answer = self._answers[min(self.told, len(self._answers) - 1)]
        self.told += 1
        return answer(shard, keys) if callable(answer) else each(shard, keys)


def lost(shard: FakeShard, _keys: list[bytes]) -> None:
    shard.answer = close
    shard.abort()


def corrupt_from_now_on(shard: FakeShard, _keys: list[bytes]) -> bytes:
    shard.answer = lambda _shard, _key: resp.error("CORRUPT", "/data: partition 7 is damaged")
    return resp.error("CORRUPT", "/data: partition 7 is damaged")


@pytest.mark.parametrize("fault", [lost, corrupt_from_now_on])
@pytest.mark.usefixtures("short_deadline")
async def test_what_fails_midway_is_cut_off_and_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, fault: object
) -> None:
    serving = await serve()
    serving.shards[0].answer_batch = Windows(None, None, None, None, fault)
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        with pytest.raises(CUT_OFF):
            await read_response(reader)
    assert "POST /mget is cut off after 2000 of 3500 keys: " in caplog.text
    assert "Traceback" not in caplog.text
    assert serving.lookups.unanswered == 0


async def test_a_dataset_that_is_replaced_midway_cuts_the_answer_off(
    serve: Serve, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    serving = await serve()
    [other] = await start(b=value)
    after = await topology_of([other], 1, epoch=2)

    def replaced(_shard: FakeShard, keys: list[bytes]) -> bytes | None:
        serving.lookups.swap(after)
        return each(serving.shards[0], keys)

    serving.shards[0].answer_batch = Windows(None, None, replaced)
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        with pytest.raises(CUT_OFF):
            await read_response(reader)
    assert "dataset dataset-1 was replaced by dataset-2" in caplog.text
    assert "cut off after 1000 of 3500 keys" in caplog.text


async def test_large_values_make_small_windows(serve: Serve) -> None:
    content = b"v" * 200_000
    router = await serve(lambda _shard, _key: resp.bulk(content))
    router.shards[0].answer_batch = lambda shard, keys: (
        each(shard, keys) if len(keys) <= 20 else resp.error("TOOLARGE", "ask for fewer keys at once")
    )
    body = lines(KEYS[:100])
    async with asking(router, length(body), body) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        chunks = [chunk async for chunk in read_chunks(reader)]
    assert chunks.pop() == b"Ringkv-Missing: 0\r\n"
    assert b"".join(chunks) == b"".join(b"%b %b\n" % (key, content) for key in KEYS[:100])
    assert max(map(len, chunks)) < 2_000_000
    assert max(router.shards[0].batches[1:]) <= 5


async def test_for_a_client_that_reads_slowly_two_windows_are_held(serve: Serve) -> None:
    content = b"v" * 10_000
    router = await serve(lambda _shard, _key: resp.bulk(content))
    body = lines(KEYS)
    async with asking(router, length(body), body) as reader:
        await reader.readuntil(b"\r\n\r\n")
        asked = router.shards[0].asked
        # The sockets' own buffers take some megabytes: 35 MB do not fit.
        before = -1
        while before != len(asked):
            before = len(asked)
            await asyncio.sleep(0.1)
        assert len(asked) < len(KEYS)
        chunks = [chunk async for chunk in read_chunks(reader)]
    assert len(asked) == len(KEYS)
    assert b"".join(chunks[:-1]) == b"".join(b"%b %b\n" % (key, content) for key in KEYS)


async def test_a_client_that_goes_midway_ends_the_work(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    content = b"v" * 10_000
    router = await serve(lambda _shard, _key: resp.bulk(content))
    body = lines(KEYS)
    async with asking(router, length(body), body) as reader:
        await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: not router.lookups.unanswered and not held(router))
    assert len(router.shards[0].asked) < len(KEYS)
    assert caplog.text == ""
    assert (await post(router, lines(FEW))).status == 200


async def test_a_client_that_sends_nothing_more_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router.mget, "MGET_SILENCE", 0.1)
    async with asking(await serve(), "Content-Length: 1000\r\n", lines(FEW)) as reader:
        response = await read_response(reader)
    assert response.status == 408
    assert one_line(response) == "nothing of the body has come for 0 s\n"


async def test_a_client_that_reads_a_little_now_and_then_is_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router.mget, "MGET_SILENCE", 0.3)
    serving = await serve(lambda _shard, _key: resp.bulk(b"v" * 10_000))
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        answer = b""
        for _ in range(10):
            answer += await reader.readexactly(500_000)
            await asyncio.sleep(0.1)
        while not answer.endswith(b"\r\nRingkv-Missing: 0\r\n\r\n"):
            answer += await reader.read(1 << 20)


async def test_a_client_that_reads_nothing_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(router.mget, "MGET_SILENCE", 0.1)
    serving = await serve(lambda _shard, _key: resp.bulk(b"v" * 10_000))
    body = lines(KEYS)
    async with asking(serving, length(body), body):
        await eventually(lambda: "the client has read nothing for 0 s" in caplog.text)
        await eventually(lambda: not held(serving))
