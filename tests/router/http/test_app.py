"""The HTTP interface: exact statuses, headers and bodies, and one plain line for whatever was wrong."""

import asyncio

import pytest

from tests.support.data import random_keys
from tests.support.fake_shard import corrupt, not_leased, nothing, silence, value
from tests.support.http import Response, read_response, request_bytes, vanish
from tests.support.processes import eventually
from tests.support.router import Serve

KEY = random_keys(1, seed=14)[0].decode()


def one_plain_line(response: Response) -> str:
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    text = response.body.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert len(text) > 2
    return text


async def test_a_value_comes_with_its_exact_headers(serve: Serve) -> None:
    router = await serve()
    response = await router(f"/{KEY}")
    assert response.status == 200
    assert response.body == f"{KEY} of a".encode()
    headers = dict(response.headers)
    assert headers.pop("Date")
    assert headers.pop("Server").startswith("ringkv/")
    assert headers == {
        "ETag": '"dataset-1"',
        "Accept-Ranges": "bytes",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(response.body)),
    }
    assert router.shards[0].asked == [KEY.encode()]


async def test_head_is_get_without_the_body(serve: Serve) -> None:
    router = await serve()
    get, head = await router(f"/{KEY}"), await router(f"/{KEY}", "HEAD")
    assert head.status == 200
    assert head.body == b""
    assert {**get.headers, "Date": ""} == {**head.headers, "Date": ""}
    router.shards[0].answer = nothing
    assert (await router(f"/{KEY}", "HEAD")).status == 404


@pytest.mark.parametrize("written", [KEY.upper(), KEY.replace("-", "%2D"), f"{KEY}?with=query"])
async def test_a_key_may_be_written_in_other_ways(serve: Serve, written: str) -> None:
    router = await serve()
    assert (await router(f"/{written}")).body == f"{KEY} of a".encode()
    assert router.shards[0].asked == [KEY.encode()]


@pytest.mark.parametrize(
    "content", [b"", b" ", b"\r", b"\x00\xff\xfe", b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"x" * (3 << 20)], ids=len
)
async def test_any_bytes_are_a_value(serve: Serve, content: bytes) -> None:
    router = await serve(lambda _shard, _key: b"$%d\r\n%b\r\n" % (len(content), content))
    response = await router(f"/{KEY}")
    assert (response.status, response.body) == (200, content)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_key_that_is_not_in_the_dataset_is_404(serve: Serve) -> None:
    router = await serve(nothing)
    response = await router(f"/{KEY}")
    assert response.status == 404
    assert one_plain_line(response) == "no such key in the dataset\n"


@pytest.mark.parametrize(
    "target",
    [
        "/nonsense",
        f"/{KEY}x",
        f"/{KEY[:-1]}",
        f"/%20{KEY}",
        f"/{KEY}%0A",
        f"/{KEY[:14]}1{KEY[15:]}",
        "/%FF%FE",
        "/%0d%0aX-Injected:%20yes",
        "/" + "x" * 2000,
        "/favicon.ico",
        "/{key}",
        "/%7Bkey%7D",
        "/explain/%7Bkey%7D",
    ],
)
async def test_what_is_no_key_is_400(serve: Serve, target: str) -> None:
    router = await serve()
    response = await router(target)
    assert response.status == 400
    assert one_plain_line(response).startswith("not a UUID version 4: ")
    assert "X-Injected" not in response.headers
    assert router.shards[0].asked == []


@pytest.mark.parametrize("target", [f"/{KEY}/more", "//", "/a/b/c"])
async def test_what_is_no_path_of_ours_is_404_in_one_line(serve: Serve, target: str) -> None:
    router = await serve()
    response = await router(target)
    assert response.status == 404
    one_plain_line(response)


@pytest.mark.parametrize(
    ("method", "target", "line"),
    [
        ("GET", "/a/b%0Ac", "Not Found: GET /a/b%0Ac\n"),
        ("GET", "/page/%0D%0Aringkv:%20ready", "Not Found: GET /page/%0D%0Aringkv:%20ready\n"),
        ("PUT", "/a%0Ab?c%0Ad", "Method Not Allowed: PUT /a%0Ab\n"),
    ],
)
async def test_a_line_feed_in_a_path_is_no_line_feed_in_its_refusal(
    serve: Serve, method: str, target: str, line: str
) -> None:
    assert one_plain_line(await (await serve())(target, method)) == line


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405_and_told_what_is_allowed(serve: Serve, method: str) -> None:
    router = await serve()
    response = await router(f"/{KEY}", method, "Content-Length: 0\r\n")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    one_plain_line(response)


@pytest.mark.parametrize("answer", [silence, not_leased, corrupt])
async def test_a_key_that_nobody_can_tell_of_is_503_with_retry_after_and_never_404(
    serve: Serve, short_deadline: float, answer: object
) -> None:
    assert short_deadline
    router = await serve(answer)
    response = await router(f"/{KEY}")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    one_plain_line(response)
    if answer is not silence:
        assert b"partition 7" in response.body


async def test_too_many_requests_are_503_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    router = await serve()
    monkeypatch.setattr(router.lookups, "most", 0)
    response = await router(f"/{KEY}")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert "wait already" in one_plain_line(response)


async def test_requests_on_one_connection_are_answered_in_order(serve: Serve) -> None:
    router = await serve()
    keys = [key.decode() for key in random_keys(50, seed=15)]
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    async with asyncio.timeout(20):
        for key in keys:
            writer.write(request_bytes(f"/{key}"))
            assert (await read_response(reader)).body == f"{key} of a".encode()
        writer.write(b"".join(request_bytes(f"/{key}") for key in [*keys, "nonsense", *keys]))
        statuses = [(await read_response(reader)).status for _ in range(101)]
    assert statuses == [200] * 50 + [400] + [200] * 50
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_leaves_nothing_behind(serve: Serve, short_deadline: float) -> None:
    assert short_deadline
    router = await serve(silence)
    writers = [(await asyncio.open_connection("127.0.0.1", router.port))[1] for _ in range(20)]
    for writer in writers:
        writer.write(request_bytes(f"/{KEY}"))
    await router.shards[0].arrived(20)
    for writer in writers:
        vanish(writer)
    await eventually(lambda: not router.lookups.in_flight)
    router.shards[0].answer = value
    router.shards[0].write(b"".join(value(router.shards[0], KEY.encode()) for _ in range(20)))
    assert (await router(f"/{KEY}")).status == 200


@pytest.mark.parametrize(
    "request_head",
    [b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET /x HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"],
)
async def test_what_is_no_http_is_refused_and_disturbs_nobody(serve: Serve, request_head: bytes) -> None:
    router = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(request_head)
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert b" 400 " in answer.split(b"\r\n")[0]
    writer.close()
    await writer.wait_closed()
    assert (await router(f"/{KEY}")).status == 200


async def test_people_and_probes_are_answered(serve: Serve) -> None:
    router = await serve()
    assert one_plain_line(await router("/healthz")) == "ok\n"
    assert one_plain_line(await router("/readyz")) == "ready\n"
    assert "ringkv" in one_plain_line(await router("/"))
    view = (await router("/ring")).json
    assert (view["epoch"], view["dataset"], view["partitions"]) == (1, "dataset-1", 256)
    router.shards[0].abort()
    topology = router.lookups.topology
    assert topology is not None
    await topology.links["a"].closed
    assert (await router("/readyz")).status == 503
