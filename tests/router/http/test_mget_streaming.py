"""POST /mget streams: large values, slow readers, and faults midway, which no client may take for an end."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from ringkv.process.connections import ConnectionLimits
from ringkv.resp import codec
from tests.support.fake_shard import FakeShard, Start, close, each, topology_of, value
from tests.support.http import read_chunks, read_response, request_bytes
from tests.support.mget import CUT_OFF, FEW, KEYS, asking, held, length, lines, post
from tests.support.processes import eventually
from tests.support.router import Serve


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
    shard.answer = lambda _shard, _key: codec.error("CORRUPT", "/data: partition 7 is damaged")
    return codec.error("CORRUPT", "/data: partition 7 is damaged")


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
    assert serving.lookups.in_flight == 0


@pytest.mark.parametrize("kept", [True, False])
async def test_an_answer_of_a_dataset_that_is_replaced_midway_is_ended_as_long_as_that_is_kept(
    serve: Serve, start: Start, caplog: pytest.LogCaptureFixture, *, kept: bool
) -> None:
    serving = await serve()
    [other] = await start(b=value)
    after = await topology_of([other], 1, epoch=2)

    def replaced(_shard: FakeShard, keys: list[bytes]) -> bytes | None:
        serving.lookups.swap(after)
        if not kept:
            serving.lookups.kept.let_all_go()
        return each(serving.shards[0], keys)

    serving.shards[0].answer_batch = Windows(None, None, replaced, None)
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        if kept:
            answer = await read_response(reader)
            assert answer.body == b"".join(b"%b %b of a\n" % (key, key) for key in KEYS)
            assert other.asked == []
            return
        with pytest.raises(CUT_OFF):
            await read_response(reader)
    assert "dataset dataset-1 was replaced, and is not held any more" in caplog.text
    assert "cut off after 2000 of 3500 keys" in caplog.text


async def test_large_values_make_small_windows(serve: Serve) -> None:
    content = b"v" * 200_000
    router = await serve(lambda _shard, _key: codec.bulk(content))
    router.shards[0].answer_batch = lambda shard, keys: (
        each(shard, keys) if len(keys) <= 20 else codec.error("TOOLARGE", "ask for fewer keys at once")
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


@pytest.mark.usefixtures("patient")
async def test_for_a_client_that_reads_slowly_two_windows_are_held(serve: Serve) -> None:
    content = b"v" * 10_000
    router = await serve(lambda _shard, _key: codec.bulk(content))
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
    router = await serve(lambda _shard, _key: codec.bulk(content))
    body = lines(KEYS)
    async with asking(router, length(body), body) as reader:
        await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: not router.lookups.in_flight and not held(router))
    assert len(router.shards[0].asked) < len(KEYS)
    assert caplog.text == ""
    assert (await post(router, lines(FEW))).status == 200


async def test_a_client_that_reads_a_little_now_and_then_is_waited_for(serve: Serve) -> None:
    serving = await serve(lambda _shard, _key: codec.bulk(b"v" * 10_000), ConnectionLimits(send=1.0))
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        answer = bytearray()
        for _ in range(10):
            answer += await reader.readexactly(500_000)
            await asyncio.sleep(0.2)
        while not answer.endswith(b"\r\nRingkv-Missing: 0\r\n\r\n"):
            answer += await reader.read(1 << 20)


async def test_a_client_that_reads_nothing_is_given_up(serve: Serve) -> None:
    serving = await serve(lambda _shard, _key: codec.bulk(b"v" * 10_000), ConnectionLimits(send=0.1))
    body = lines(KEYS)
    async with asking(serving, length(body), body) as reader:
        await eventually(lambda: serving.guard.closed["send"] == 1)
        await eventually(lambda: not held(serving))
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_clients_that_pipeline_and_read_nothing_keep_no_other_waiting_that_pipelines(serve: Serve) -> None:
    router = await serve(lambda _shard, _key: codec.bulk(b"v" * 10_000))
    many, few = lines(KEYS[:1500]), lines(FEW)
    polite = request_bytes("/mget", "POST", length(few)) + few
    greedy = request_bytes("/mget", "POST", length(many)) + many + polite
    async with AsyncExitStack() as clients:
        readers = [await clients.enter_async_context(asking(router, length(few), few + greedy)) for _ in range(9)]
        for reader in readers:
            await read_response(reader)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        reader = await clients.enter_async_context(asking(router, length(few), few + polite))
        for _ in range(2):
            answer = await read_response(reader)
            assert answer.body == b"".join(b"%b %b\n" % (key, b"v" * 10_000) for key in FEW)
