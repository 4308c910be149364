"""POST /mget as tests send it: its keys, the lines expected, and requests whose bytes arrive as a test wants."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ringkv.router.http.endpoint import Endpoint
from ringkv.router.http.mget import Mget
from tests.support.data import random_keys
from tests.support.http import Response, fetch, request_bytes
from tests.support.processes import PATIENCE
from tests.support.router import Router

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
    return answerer(router)._held  # noqa: SLF001 - nothing else shows it


def answerer(router: Router) -> Mget:
    """What answers this router's requests for many keys."""
    app = router.runner.app
    assert app is not None
    [owner] = {
        mget
        for route in app.router.routes()
        if isinstance(endpoint := getattr(route.handler, "__self__", None), Endpoint)
        and isinstance(mget := getattr(endpoint.handler, "__self__", None), Mget)
    }
    return owner


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}\r\n"


def one_line(response: Response) -> str:
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    text = response.body.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text
