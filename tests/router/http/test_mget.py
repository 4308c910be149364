"""POST /mget: the data file's own lines for the keys asked for, or the same as JSON."""

import json
from base64 import b64encode

import pytest

from ringkv.resp import codec
from tests.support.fake_shard import nothing, value
from tests.support.http import read_response, request_bytes
from tests.support.mget import FEW, KEYS, asking, length, lines, pairs, post
from tests.support.router import Serve


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
        "Ringkv-Keys": str(len(asked)),
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
    router = await serve(lambda shard, key: codec.NULL if key in gone else value(shard, key))
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
    response = await post(await serve(lambda _shard, _key: codec.bulk(content)), lines(FEW))
    assert response.body == b"".join(b"%b %b\n" % (key, content) for key in FEW)


@pytest.mark.parametrize("size", [1, 7, 36, 37, 38, 64, 1000])
async def test_wherever_the_body_is_cut_its_keys_are_the_same(serve: Serve, size: int) -> None:
    body = lines(KEYS[:50]).replace(b"\n", b"\r\n")
    cut = b"".join(b"%x\r\n%b\r\n" % (len(piece := body[at : at + size]), piece) for at in range(0, len(body), size))
    async with asking(await serve(), "Transfer-Encoding: chunked\r\n", cut + b"0\r\n\r\n") as reader:
        assert (await read_response(reader)).body == pairs(KEYS[:50])


async def test_the_data_files_format_has_a_name_too(serve: Serve) -> None:
    assert (await post(await serve(), lines(FEW), "?format=data")).body == pairs(FEW)


async def test_json_has_the_dataset_the_values_and_what_is_missing(serve: Serve) -> None:
    odd = [b"", b'"\\\n\x00</script>', "naïve 🦊".encode(), b"\xff\xfe", None]
    wanted = dict(zip(KEYS, odd * 700, strict=True))
    found = {key: codec.NULL if content is None else codec.bulk(content) for key, content in wanted.items()}
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
