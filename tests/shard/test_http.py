"""The HTTP port of a shard, attacked: what a request may cost there."""

from pathlib import Path

import pytest
from aiohttp import web

from ringkv.process.address import Address, bind
from ringkv.shard.http import runner
from tests.support.bomb import BOMB, unhindered
from tests.support.http import fetch
from tests.support.packed import pack_pairs
from tests.support.served import serving


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
