"""What a request's head may hold: hosts, lengths, methods, expectations, upgrades, and pages of other origins."""

import asyncio
from pathlib import Path

import pytest

from ringkv.router.policy import MGET_BYTES
from tests.support.data import EXAMPLE
from tests.support.fake_shard import Start, value
from tests.support.haproxy import Haproxy, check_of
from tests.support.http import fetch, read_response
from tests.support.mget import FEW, length, lines, pairs
from tests.support.processes import PATIENCE, Spawner, eventually
from tests.support.router import Serve
from tests.support.twins import HOST, KEY, OTHER, PLAIN, connection, talk, twin_of, twins_of

PATH = f"/{KEY.decode()}"
ORIGIN = "https://app.example"


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "u@a", "a:b", "a:99999999", "<x>", 'a"b', "[::1", "a,b c", "ä", "a%zz", "http://a"]
)
async def test_a_host_that_is_no_host_is_400(start: Start, host: str) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            said = await talk(twin.port, [f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()])
            assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"\r\n\r\nnot a host: " in said


@pytest.mark.parametrize(
    "host", ["a", "a.example:80", "my_router:8000", "127.0.0.1", "[fe80::1]:8000", "a:", "xn--bcher-kva", ""]
)
async def test_a_host_may_be_any_name_or_address(start: Start, host: str) -> None:
    async with twins_of(await start(a=value)) as twins:
        for twin in twins:
            said = await talk(twin.port, [f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()])
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_too_long_a_url_is_414_and_too_long_a_header_431(serve: Serve) -> None:
    router = await serve()
    response = await router("/" + "x" * 8001)
    assert (response.status, response.body) == (414, b"a URL of more than 8000 bytes\n")
    assert (await router("/" + "x" * 7999)).status == 400  # no key, but a URL
    response = await router("/", headers=f"X-Long: {'x' * 9000}\r\n")
    assert (response.status, response.body) == (431, b"a header of more than 8190 bytes\n")


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        (PATH, "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/mget", "POST, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ],
)
async def test_options_tells_what_is_allowed(serve: Serve, target: str, allow: str) -> None:
    response = await (await serve())(target, "OPTIONS")
    assert (response.status, response.body, response.headers["Allow"]) == (204, b"", allow)
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


async def test_haproxys_bare_health_check_finds_the_router_up(serve: Serve, haproxy: Haproxy, tmp_path: Path) -> None:
    router = await serve()
    haproxy(tmp_path, f"mode http\n option httpchk\n server r 127.0.0.1:{router.port} check inter 100ms\n")
    await eventually(lambda: check_of(tmp_path) in {"UP L7OK 204", "DOWN L7STS 405", "DOWN L7STS 400"})
    assert check_of(tmp_path) == "UP L7OK 204"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/mget", f"Content-Length: {MGET_BYTES + 1}\r\n", 413),
        ("/mget?format=xml", "Content-Length: 1000\r\n", 400),
        ("/mget/more", "Content-Length: 1000\r\n", 404),
        (PATH, "Content-Length: 1000\r\n", 405),
    ],
)
async def test_a_body_that_will_be_refused_is_not_asked_for(
    serve: Serve, target: str, headers: str, status: int
) -> None:
    router = await serve()
    async with connection(router.port) as (reader, writer), asyncio.timeout(PATIENCE):
        writer.write(f"POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{headers}\r\n".encode())
        response = await read_response(reader)
        assert (response.status, response.headers["Connection"]) == (status, "close")


async def test_a_body_that_is_wanted_is_asked_for(serve: Serve) -> None:
    body = lines(FEW)
    head = b"POST /mget HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + length(body).encode() + b"\r\n"
    async with connection((await serve()).port) as (reader, writer), asyncio.timeout(PATIENCE):
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_response(reader)).body == pairs(FEW)


async def test_what_stands_behind_a_refused_upgrade_is_answered(start: Start) -> None:
    upgrade = b"GET /%b HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" % (OTHER, HOST)
    async with twin_of(await start(a=value), express=True) as twin:
        for pieces in ([upgrade + PLAIN], [upgrade[:-1], b"\n" + PLAIN], [upgrade[:40], upgrade[40:] + PLAIN]):
            said = await talk(twin.port, pieces)
            assert said.count(b"HTTP/1.1 200 OK\r\n") == 3  # the probe of `talk` is the third
            assert said.index(b"%b of a" % OTHER) < said.index(b"%b of a" % KEY)


async def test_pages_of_the_named_origin_may_read(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "a")
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--cors", ORIGIN)
    port = int(router.wait_for_line(r"router listens on 127.0.0.1:(\d+)")[1])
    router.wait_for_line("topology 1 in ")
    key, absent = "/f8a24bb8-eff8-41dc-929b-10b4c3e49e05", f"/{FEW[0].decode()}"
    for target, status in ((key, 200), (absent, 404), ("/nonsense", 400), ("/ring", 200)):
        response = await fetch("127.0.0.1", port, target, headers=f"Origin: {ORIGIN}\r\n")
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Ringkv-Missing"} <= set(exposed)
    preflight = (
        f"Origin: {ORIGIN}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n"
    )
    response = await fetch("127.0.0.1", port, "/mget", "OPTIONS", preflight)
    assert (response.status, response.headers["Access-Control-Allow-Methods"]) == (204, "POST")
    assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]
    assert response.headers["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize(
    "origin", ["app.example", "https://app.example/", "https://a b", "null", "https://a,https://b"]
)
def test_what_is_no_origin_is_one_line(spawn: Spawner, origin: str) -> None:
    router = spawn("router", "--shards", "127.0.0.1:1", "--cors", origin)
    assert router.wait() == 2
    assert f"not an origin: {origin!r} (want https://host, https://host:port or *)" in router.err
