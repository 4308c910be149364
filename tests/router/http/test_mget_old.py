"""POST /mget for HTTP/1.0, which knows no chunks and no trailers, and through nginx, which drops them by default."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringkv.process.http import GuardedConnection
from ringkv.resp import codec
from tests.support.fake_shard import FakeShard, close, each, nothing, silence, value
from tests.support.http import Response, fetch
from tests.support.mget import CUT_OFF, FEW, KEYS, lines, pairs
from tests.support.processes import PATIENCE, eventually
from tests.support.router import Router, Serve


async def old(router: Router, body: bytes, query: str = "", headers: str = "") -> tuple[dict[str, str], bytes]:
    """The headers and body of an answer to HTTP/1.0, which ends with the connection. Raises ConnectionResetError."""
    async with asyncio.timeout(PATIENCE), asking(router.port) as (reader, writer):
        writer.write(f"POST /mget{query} HTTP/1.0\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    assert status == "HTTP/1.0 200 OK"
    return dict(field.split(": ", 1) for field in fields), content


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def missing(router: Router, gone: set[bytes]) -> None:
    router.shards[0].answer = lambda shard, key: codec.NULL if key in gone else value(shard, key)


async def test_a_short_answer_has_a_length_and_says_what_is_missing(serve: Serve) -> None:
    router = await serve()
    missing(router, set(KEYS[:300:3]))
    headers, body = await old(router, lines(KEYS[:300]))
    assert body == pairs([key for at, key in enumerate(KEYS[:300]) if at % 3])
    assert headers["Content-Length"] == str(len(body))
    assert (headers["Ringkv-Keys"], headers["Ringkv-Missing"]) == ("300", "100")
    assert not {"Transfer-Encoding", "Trailer"} & headers.keys()


async def test_of_a_long_answer_lines_and_keys_tell_what_is_missing(serve: Serve) -> None:
    router = await serve()
    missing(router, set(KEYS[::7]))
    headers, body = await old(router, lines(KEYS), headers="Connection: keep-alive\r\n")
    assert body == pairs([key for at, key in enumerate(KEYS) if at % 7])
    assert int(headers["Ringkv-Keys"]) - body.count(b"\n") == len(KEYS[::7])
    assert not {"Transfer-Encoding", "Trailer", "Content-Length", "Ringkv-Missing"} & headers.keys()


@pytest.mark.parametrize("keys", [FEW, KEYS])
async def test_json_names_what_is_missing(serve: Serve, keys: list[bytes]) -> None:
    headers, body = await old(await serve(nothing), lines(keys), "?format=json")
    assert json.loads(body)["missing"] == [key.decode() for key in keys]
    assert headers["Ringkv-Keys"] == str(len(keys))


def lost_after(windows: int) -> Callable[[FakeShard, list[bytes]], bytes | None]:
    told = 0

    def answer(shard: FakeShard, keys: list[bytes]) -> bytes | None:
        nonlocal told
        told += 1
        if told <= windows:
            return each(shard, keys)
        shard.answer = close
        shard.abort()
        return None

    return answer


@pytest.mark.usefixtures("short_deadline")
async def test_a_part_is_not_taken_for_the_whole(serve: Serve) -> None:
    router = await serve()
    router.shards[0].answer_batch = lost_after(4)
    with pytest.raises(ConnectionResetError):
        await old(router, lines(KEYS))


async def begun(router: Router) -> asyncio.Task[object]:
    """A long answer that has begun, and whose shard has nothing more to say."""
    waits = asyncio.Event()

    def answer(shard: FakeShard, keys: list[bytes]) -> bytes | None:
        if len(shard.batches) <= 4:
            return each(shard, keys)
        shard.answer = silence
        waits.set()
        return None

    router.shards[0].answer_batch = answer
    asked = asyncio.create_task(old(router, lines(KEYS)))
    async with asyncio.timeout(PATIENCE):
        await waits.wait()
    return asked


async def test_a_part_is_not_taken_for_the_whole_where_the_router_leaves_meanwhile(serve: Serve) -> None:
    router = await serve()
    asked = await begun(router)
    await router.runner.cleanup()
    with pytest.raises(ConnectionResetError):
        await asked


async def test_a_part_is_not_taken_for_the_whole_where_there_is_no_memory_for_it(serve: Serve) -> None:
    router = await serve()
    asked = await begun(router)
    assert router.runner.server is not None
    [connection] = router.runner.server.connections
    assert isinstance(connection, GuardedConnection)
    router.guard.hold(connection, 1 << 50)
    with pytest.raises(ConnectionResetError):
        await asked
    assert router.guard.closed["memory"] == 1


Nginx = Callable[[int, str], int]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Starts an nginx in front of a port, with further lines of its `location`; returns its own port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(port: int, lines: str) -> int:
        program = shutil.which("nginx")
        if program is None:
            if os.environ.get("CI") == "true":
                pytest.fail("nginx is not installed, and CI must not skip its tests")
            pytest.skip("nginx is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            own = int(free.getsockname()[1])
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;\n"
            f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
            f" server {{ listen 127.0.0.1:{own};\n"
            f" location / {{ proxy_pass http://127.0.0.1:{port}; {lines} }} }} }}\n"
        )
        running.append(subprocess.Popen([program, "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.DEVNULL))
        return own

    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)


async def through(port: int, body: bytes) -> Response:
    await eventually(lambda: listens(port))
    return await fetch("127.0.0.1", port, "/mget", "POST", "", body)


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("version", ["", "proxy_http_version 1.1;"], ids=["as it comes", "HTTP/1.1"])
@pytest.mark.parametrize("count", [300, 3500])
async def test_through_nginx_the_count_is_not_lost(serve: Serve, nginx: Nginx, version: str, count: int) -> None:
    router = await serve()
    gone = set(KEYS[:count:5])
    missing(router, gone)
    response = await through(nginx(router.port, version), lines(KEYS[:count]))
    assert response.body == pairs([key for key in KEYS[:count] if key not in gone])
    assert int(response.headers["Ringkv-Keys"]) - response.body.count(b"\n") == len(gone)
    if count == 300 and not version:
        assert response.headers["Ringkv-Missing"] == str(len(gone))


@pytest.mark.usefixtures("short_deadline")
async def test_through_nginx_a_part_is_not_taken_for_the_whole(serve: Serve, nginx: Nginx) -> None:
    router = await serve()
    router.shards[0].answer_batch = lost_after(4)
    with pytest.raises(CUT_OFF):
        await through(nginx(router.port, "proxy_buffering off;"), lines(KEYS))
