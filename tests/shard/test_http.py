"""The HTTP port of a shard, attacked: what a request may cost there."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from ringkv.process.address import Address, bind
from ringkv.shard.http import runner
from tests.support.bomb import BOMB, unhindered
from tests.support.http import fetch, read_response
from tests.support.packed import pack_pairs
from tests.support.served import serving


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_one_line_for_the_client_and_none_for_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    async with serving(pack_pairs(tmp_path, {})) as served:
        port = runner(served.state)
        await port.setup()
        try:
            listening = bind(Address("127.0.0.1", 0))
            await web.SockSite(port, listening).start()
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(request_bytes)
            answer = await read_response(reader)
            writer.close()
        finally:
            await port.cleanup()
    assert answer.status == 400
    assert answer.body.count(b"\n") == 1
    assert caplog.records == []


async def test_no_body_is_decoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(pack_pairs(tmp_path, {})) as served:
        port = runner(served.state)
        await port.setup()
        try:
            listening = bind(Address("127.0.0.1", 0))
            await web.SockSite(port, listening).start()
            for body in (BOMB, b"no gzip at all"):
                async with unhindered():
                    host, number = listening.getsockname()
                    answer = await fetch(host, number, "/healthz", "GET", "Content-Encoding: gzip\r\n", body)
                assert answer.status == 200
        finally:
            await port.cleanup()
    assert [record for record in caplog.records if record.exc_info] == []
