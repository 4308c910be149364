"""A part of a value: for downloads that go on, and for pieces of large values."""

import pytest

from tests.support.data import random_keys
from tests.support.fake_shard import nothing
from tests.support.http import Response
from tests.support.router import Serve

KEY = random_keys(1, seed=14)[0].decode()
VALUE = f"{KEY} of a".encode()
SIZE = len(VALUE)


async def asked(serve: Serve, headers: str, answer: object = None) -> Response:
    router = await (serve() if answer is None else serve(answer))
    return await router(f"/{KEY}", headers=headers)


@pytest.mark.parametrize(
    ("asked_for", "first", "end"),
    [
        ("0-3", 0, 4),
        ("2-2", 2, 3),
        ("5-", 5, SIZE),
        ("-4", SIZE - 4, SIZE),
        ("-9999", 0, SIZE),
        (f"3-{SIZE + 50}", 3, SIZE),
        (f"0-{10**30}", 0, SIZE),
        (f"{SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_a_part_is_206_with_its_place(serve: Serve, asked_for: str, first: int, end: int) -> None:
    response = await asked(serve, f"Range: bytes={asked_for}\r\n")
    assert (response.status, response.body) == (206, VALUE[first:end])
    assert response.headers["Content-Range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert (response.headers["ETag"], response.headers["Accept-Ranges"]) == ('"dataset-1"', "bytes")


@pytest.mark.parametrize("asked_for", [f"{SIZE}-", f"{SIZE + 7}-{SIZE + 9}", "-0"])
async def test_a_part_that_is_not_there_is_416_with_the_size(serve: Serve, asked_for: str) -> None:
    response = await asked(serve, f"Range: bytes={asked_for}\r\n")
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert response.body == f"the value has {SIZE} bytes: no such range\n".encode()


@pytest.mark.parametrize("asked_for", ["bytes=0-1,4-5", "bytes=5-2", "bytes=", "bytes=-", "lines=1-2", "bytes=a-b", ""])
async def test_what_is_not_one_range_of_bytes_is_answered_with_all(serve: Serve, asked_for: str) -> None:
    response = await asked(serve, f"Range: {asked_for}\r\n")
    assert (response.status, response.body) == (200, VALUE)
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize(
    ("tag", "status"),
    [('"dataset-1"', 206), ('W/"dataset-1"', 200), ('"dataset-2"', 200), ("Wed, 25 Nov 2026 10:00:00 GMT", 200)],
)
async def test_a_download_goes_on_only_with_the_same_dataset(serve: Serve, tag: str, status: int) -> None:
    response = await asked(serve, f"Range: bytes=4-\r\nIf-Range: {tag}\r\n")
    assert (response.status, response.body) == (status, VALUE[4:] if status == 206 else VALUE)


async def test_who_holds_the_value_is_sent_no_part_of_it(serve: Serve) -> None:
    assert (await asked(serve, 'Range: bytes=0-3\r\nIf-None-Match: "dataset-1"\r\n')).status == 304


async def test_head_and_keys_that_are_not_there_have_no_parts(serve: Serve) -> None:
    router = await serve()
    response = await router(f"/{KEY}", "HEAD", "Range: bytes=0-3\r\n")
    assert (response.status, response.headers["Content-Length"]) == (200, str(SIZE))
    router.shards[0].answer = nothing
    assert (await router(f"/{KEY}", headers="Range: bytes=0-3\r\n")).status == 404


async def test_of_an_empty_value_there_is_all(serve: Serve) -> None:
    response = await asked(serve, "Range: bytes=0-3\r\n", answer=lambda *_: b"$0\r\n\r\n")
    assert (response.status, response.body) == (200, b"")
