"""The router's HTTP interface, on aiohttp: which path is answered by which handler."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from ringkv.process.tokens import TokenFile
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.endpoint import READ, Endpoint, add_routes, one_line_errors
from ringkv.router.http.explain import Explanations
from ringkv.router.http.health import Health
from ringkv.router.http.layout import Layouts
from ringkv.router.http.mget import Mget
from ringkv.router.http.openapi.document import described
from ringkv.router.http.pages import Pages
from ringkv.router.http.value import Values
from ringkv.router.lookup.lookup import Lookups


def endpoints(
    lookups: Lookups, reporter: Reporter, *, cors: bool = False, tokens: TokenFile | None = None
) -> list[Endpoint]:
    """All that the router answers, with `cors` also to pages of other origins; keys want one of `tokens`."""
    pages = Pages()
    health = Health(lookups, reporter)
    found = [
        Endpoint("/", READ, pages.front, cors),
        Endpoint("/page/{name}", READ, pages.file, cors),
        Endpoint("/healthz", READ, health.live, cors),
        Endpoint("/readyz", READ, health.ready, cors),
        Endpoint("/ring", READ, health.ring, cors),
        Endpoint("/ring/layout", READ, Layouts(lookups).answer, cors),
        Endpoint("/versions", READ, health.versions, cors),
        Endpoint("/stats", READ, health.stats, cors),
        Endpoint("/history", READ, health.history, cors),
        Endpoint("/events", READ, health.events, cors),
        Endpoint("/metrics", READ, health.metrics, cors),
        Endpoint("/explain/{key}", READ, Explanations(lookups, reporter).answer, cors, tokens),
        Endpoint("/mget", ("POST",), Mget(lookups).answer, cors, tokens),
        Endpoint("/{key}", READ, Values(lookups).answer, cors, tokens),
    ]
    return [described(found, cors=cors), *found]


def build_app(
    lookups: Lookups, reporter: Reporter, common: Mapping[str, str], tokens: TokenFile | None = None
) -> web.Application:
    """The application; `common` are the headers that every response has."""
    cors = hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in common

    async def add_common_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(common)

    app = web.Application(middlewares=[one_line_errors])
    app.on_response_prepare.append(add_common_headers)
    add_routes(app, endpoints(lookups, reporter, cors=cors, tokens=tokens))
    return app
