"""What all endpoints share: a path takes some methods, says which, and every error is one plain line.

aiohttp only finds the endpoint of a path. Whatever can be refused before a body is read is refused here, so that a
client that waits for `100 Continue` is not asked for a body that nobody wants.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from ringkv.cluster.errors import InvalidKey, ShardUnavailable
from ringkv.process.tokens import TokenFile
from ringkv.process.turns import Turns
from ringkv.router.http.answers import Refusal, allowed, answer, bare, preflight, response
from ringkv.router.http.host import HOST

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READ: Final = (hdrs.METH_GET, hdrs.METH_HEAD)
"""The methods of most endpoints. aiohttp leaves the body out of an answer to HEAD."""

ANY: Final = (*READ, hdrs.METH_POST)
"""All methods that some endpoint takes."""

_HOST: Final = re.compile(HOST)
_NAMED: Final = re.compile(r"\{(\w+)\}")
"""A part of a path that may be anything: aiohttp would let it have no braces."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path, its methods and the handler that answers them; with `cors`, pages of other origins may ask too.

    With `tokens` it answers only requests that have one of them. With `turns` its answers take milliseconds to make,
    and it makes one in a turn of the event loop.
    """

    path: str
    methods: tuple[str, ...]
    handler: Handler
    cors: bool = False
    tokens: TokenFile | None = None
    turns: Turns | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request. Raises Refusal for a method that the path does not take, and for a missing token."""
        if request.method in self.methods:
            if self.tokens is not None:
                check_token(self.tokens, request)
            if self.turns is not None:
                await self.turns.turn()
            return await self.handler(request)
        if request.method == hdrs.METH_OPTIONS:
            return self.options()
        raise Refusal(405, _named("Method Not Allowed", request), allowed(self.methods))

    def options(self) -> web.Response:
        return bare(204, allowed(self.methods) | (preflight(self.methods) if self.cors else {}))


def add_routes(app: web.Application, endpoints: Iterable[Endpoint], elsewhere: Iterable[str] = ()) -> None:
    """Have aiohttp find these endpoints, and refuse all other paths; those that are answered `elsewhere` come first."""
    for path in elsewhere:
        app.router.add_route("*", _NAMED.sub(r"{\1:[^/]+}", path), nowhere, expect_handler=_not_yet)
    for endpoint in endpoints:
        app.router.add_route("*", _NAMED.sub(r"{\1:[^/]+}", endpoint.path), endpoint.answer, expect_handler=_not_yet)
    app.router.add_route("*", "/{path:.*}", nowhere, expect_handler=_not_yet)


def check_token(tokens: TokenFile, request: web.BaseRequest) -> None:
    """Raises Refusal for a request without a valid token. Source: RFC 6750, section 3."""
    said = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(said) == 1 and tokens.admits(said[0]):
        return
    tokens.refused += 1
    if not said:
        raise Refusal(401, "a token is needed: Authorization: Bearer <token>", {hdrs.WWW_AUTHENTICATE: "Bearer"})
    raise Refusal(401, "not a token that counts here", {hdrs.WWW_AUTHENTICATE: 'Bearer error="invalid_token"'})


async def nowhere(request: web.Request) -> web.StreamResponse:
    """The handler of paths that do not exist."""
    raise Refusal(404, _named("Not Found", request))


async def invite_body(request: web.Request) -> None:
    """Send `100 Continue` to a client that waits for it, now that the request will not be refused without its body."""
    if request.headers.get(hdrs.EXPECT) and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # else aiohttp would take this for the beginning of the answer


@web.middleware
async def one_line_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with one plain line, also those that aiohttp raises."""
    try:
        _check_head(request)
        answered = bare(204, allowed(ANY)) if _asks_for_all(request) else await handler(request)
    except (InvalidKey, ShardUnavailable, Refusal) as error:
        answered = response(answer(error))
    except web.HTTPException as error:
        answered = response(answer(Refusal(error.status, _named(error.reason, request))))
    if not answered.prepared and _leaves_something_unread(request):
        answered.force_close()
    return answered


def _asks_for_all(request: web.Request) -> bool:
    """Whether it is `OPTIONS *`, which asks what the server takes at all."""
    return request.method == hdrs.METH_OPTIONS and request.raw_path == "*"


def _check_head(request: web.Request) -> None:
    """Raises Refusal for what is wrong with any request."""
    if not _HOST.fullmatch(host := request.headers.get(hdrs.HOST, "")):
        raise Refusal(400, f"not a host: {host[:60]!r}")
    expected = request.headers.get(hdrs.EXPECT, "100-continue")
    if expected.lower() != "100-continue" and request.version >= HttpVersion11:
        raise Refusal(417, f"unknown expectation {expected[:60]!r}: want 100-continue")


def _leaves_something_unread(request: web.Request) -> bool:
    """Whether it is unknown what follows the request: a body that was not invited, or bytes that aiohttp would drop."""
    odd = hdrs.EXPECT in request.headers or hdrs.UPGRADE in request.headers
    return odd and request.body_exists


async def _not_yet(_request: web.Request) -> None:
    """Take the place of aiohttp's own `100 Continue`, which comes too early: handlers that want a body invite it."""


def _named(what: str, request: web.Request) -> str:
    # The path as it was sent: decoded it may have a line feed in it.
    return f"{what}: {request.method} {request.rel_url.raw_path}"
