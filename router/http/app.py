"""The router's HTTP interface, on aiohttp: which path is answered by which handler."""

import enum
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from ringkv.process.tokens import TokenFile
from ringkv.process.turns import Turns
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.connection import HttpConnection
from ringkv.router.http.endpoint import READ, Endpoint, add_routes, one_line_errors
from ringkv.router.http.explain import Explanations
from ringkv.router.http.health import Health
from ringkv.router.http.layout import Layouts
from ringkv.router.http.mget import Mget
from ringkv.router.http.openapi.document import described
from ringkv.router.http.pages import Pages
from ringkv.router.http.value import Values
from ringkv.router.lookup.lookup import Lookups


class Part(enum.Enum):
    """Which of all paths a port answers."""

    ALL = enum.auto()
    KEYS = enum.auto()
    ADMIN = enum.auto()

    def has(self, path: str) -> bool:
        return self is Part.ALL or path in _OF_BOTH or (path in _OF_KEYS) == (self is Part.KEYS)


_OF_KEYS: Final = frozenset({"/mget", "/{key}"})
_OF_BOTH: Final = frozenset({"/healthz", "/readyz"})
"""The paths for readers, and those for probes, which each port answers; all others are for operators."""


def endpoints(
    lookups: Lookups,
    reporter: Reporter,
    *,
    cors: bool = False,
    tokens: TokenFile | None = None,
) -> list[Endpoint]:
    """All endpoints of a router. With `cors` they answer pages of other origins too; those of keys want a token."""
    pages = Pages()
    health = Health(lookups, reporter)
    turns = Turns()
    return [
        Endpoint("/", READ, pages.front, cors),
        Endpoint("/page/{name}", READ, pages.file, cors),
        Endpoint("/healthz", READ, health.live, cors),
        Endpoint("/readyz", READ, health.ready, cors),
        Endpoint("/ring", READ, health.ring, cors, turns=turns),
        Endpoint("/ring/layout", READ, Layouts(lookups).answer, cors, turns=turns),
        Endpoint("/versions", READ, health.versions, cors, turns=turns),
        Endpoint("/stats", READ, health.stats, cors, turns=turns),
        Endpoint("/history", READ, health.history, cors, turns=turns),
        Endpoint("/events", READ, health.events, cors, turns=turns),
        Endpoint("/hot", READ, health.hot, cors, tokens, turns),
        Endpoint("/metrics", READ, health.metrics, cors, turns=turns),
        Endpoint("/explain/{key}", READ, Explanations(lookups, reporter).answer, cors, tokens, turns),
        Endpoint("/mget", ("POST",), Mget(lookups).answer, cors, tokens),
        Endpoint("/{key}", READ, Values(lookups).answer, cors, tokens),
    ]


def build_app(
    lookups: Lookups,
    reporter: Reporter,
    common: Mapping[str, str],
    tokens: TokenFile | None = None,
    part: Part = Part.ALL,
) -> web.Application:
    """The application of a port; `common` are the headers that every response has, `part` the paths it answers."""
    cors = hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in common

    async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(common)
        if isinstance(request.protocol, HttpConnection) and request.protocol.ends:
            response.headers[hdrs.CONNECTION] = "close"
            response.force_close()

    app = web.Application(middlewares=[one_line_errors])
    app.on_response_prepare.append(add_common_headers)
    known = endpoints(lookups, reporter, cors=cors, tokens=tokens)
    answered = [endpoint for endpoint in known if part.has(endpoint.path)]
    elsewhere = [endpoint.path for endpoint in known if part is Part.KEYS and not part.has(endpoint.path)]
    add_routes(app, [described(answered, cors=cors), *answered], elsewhere)
    return app
