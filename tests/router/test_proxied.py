"""A router behind a real HAProxy that tells whom its connections are from."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.fake_shard import Start, value
from tests.support.haproxy import Haproxy
from tests.support.processes import PATIENCE, Spawner, eventually
from tests.support.twins import KEY, PLAIN, connection, twin_of

VALUE = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"


@pytest.mark.parametrize("sent", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("way", ["express", "aiohttp"])
async def test_the_peer_is_the_client_of_the_proxy(
    start: Start, haproxy: Haproxy, tmp_path: Path, sent: str, way: str
) -> None:
    async with AsyncExitStack() as stack:
        twin = await stack.enter_async_context(twin_of(await start(a=value), express=way == "express", proxied=True))
        front = haproxy(tmp_path, f"mode tcp\n server r 127.0.0.1:{twin.port} {sent}\n")
        reader, writer = await stack.enter_async_context(connection(front))
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(PLAIN)
                assert (await reader.readuntil(b" of a")).endswith(b"%b of a" % KEY)
            server = twin.runner.server
            assert server is not None
            assert [client.peername for client in server.connections] == [writer.get_extra_info("sockname")]
            writer.write_eof()
            assert await reader.read() == b""


async def test_both_ports_take_clients_of_the_proxy_and_nobody_else(
    spawn: Spawner, haproxy: Haproxy, tmp_path: Path
) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "a")
    listens = ["--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0"]
    router = spawn("router", "--shards", str(shard.address), *listens, "--proxy-protocol")
    http = int(router.wait_for_line(r"router listens on 127.0.0.1:(\d+)")[1])
    redis = int(router.wait_for_line(r"router speaks Redis on 127.0.0.1:(\d+)")[1])
    router.wait_for_line("topology 1 in ")
    asked = {
        http: (f"GET /{VALUE} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), b"\r\n\r\n1234"),
        redis: (f"*2\r\n$3\r\nGET\r\n$36\r\n{VALUE}\r\n".encode(), b"$4\r\n1234\r\n"),
    }
    for port, (request, answer) in asked.items():
        front = haproxy(tmp_path / str(port), f"mode tcp\n server r 127.0.0.1:{port} send-proxy-v2\n")
        async with asyncio.timeout(PATIENCE), connection(front) as (reader, writer):
            writer.write(request)
            assert (await reader.readuntil(answer)).endswith(answer)
        async with asyncio.timeout(PATIENCE), connection(port) as (reader, writer):
            writer.write(request)
            assert await reader.read() == b""
    line = "a connection without a header of the PROXY protocol is closed: it does not begin as a header does"
    await eventually(lambda: router.err.count(line) == len(asked))
