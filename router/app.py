"""The router's HTTP interface, on aiohttp."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from cluster.errors import InvalidKey, ShardUnavailable
from cluster.exposition import exposition
from cluster.position import canonical
from router.answers import SERVER, answer, plain, response
from router.conditional import holds, holds_any, not_modified
from router.durations import BOUNDS
from router.explain import Explanations
from router.layout import Layouts
from router.lookup import Lookups
from router.metrics import router_families
from router.mget import Mget
from router.pages import Pages, wants_page
from router.policy import RETRY_AFTER
from router.reporter import Reporter

LOOKUPS = web.AppKey("lookups", Lookups)
REPORTER = web.AppKey("reporter", Reporter)
PAGES = web.AppKey("pages", Pages)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(lookups: Lookups, reporter: Reporter) -> web.Application:
    app = web.Application(middlewares=[one_line_errors])
    app[LOOKUPS] = lookups
    app[REPORTER] = reporter
    app[PAGES] = Pages()
    app.on_response_prepare.append(_name_the_server)
    app.router.add_get("/", about)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/page/{name}", app[PAGES].file)
    app.router.add_get("/ring", ring)
    app.router.add_get("/ring/layout", Layouts(lookups).answer)
    app.router.add_get("/explain/{key}", Explanations(lookups, reporter).answer)
    app.router.add_get("/stats", stats)
    app.router.add_get("/metrics", metrics)
    app.router.add_route("*", "/mget", Mget(lookups).answer)
    app.router.add_get("/{key}", value)
    return app


@web.middleware
async def one_line_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say in one plain line what was wrong, also where aiohttp is the one to say it."""
    try:
        return await handler(request)
    except (InvalidKey, ShardUnavailable) as error:
        return response(answer(error, None))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return plain(error.status, f"{error.reason}: {request.method} {request.path}", headers)


async def value(request: web.Request) -> web.Response:
    """`GET /<key>`: the value's exact bytes. Most such requests take the express lane instead."""
    lookups = request.app[LOOKUPS]
    try:
        key = canonical(request.match_info["key"].encode())
    except InvalidKey as error:
        return response(answer(error, None))
    if lookups.topology and holds(request, lookups.topology.dataset_id):
        return not_modified(lookups.topology.dataset_id)
    outcome = await lookups.get(key)
    dataset_id = lookups.topology.dataset_id if lookups.topology else None
    if dataset_id and type(outcome) is bytes and holds_any(request):
        return not_modified(dataset_id)
    return response(answer(outcome, dataset_id))


async def about(request: web.Request) -> web.Response:
    """The page for a browser, one line for anybody else."""
    if wants_page(request):
        return request.app[PAGES].front(request)
    return plain(
        200,
        "ringkv: GET /<UUID v4>, POST /mget,"
        " GET /ring, /ring/layout, /explain/<UUID v4>, /stats, /metrics, /healthz, /readyz",
        {"Vary": "Accept"},
    )


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return plain(200, "ok")


async def readyz(request: web.Request) -> web.Response:
    """There is a topology, and at least a part of it can be reached."""
    topology = request.app[LOOKUPS].topology
    if topology is None or not any(link.open for link in topology.links.values()):
        return plain(503, "no shard can be reached", {"Retry-After": RETRY_AFTER})
    return plain(200, "ready")


async def ring(request: web.Request) -> web.Response:
    """The topology as JSON."""
    return web.json_response(request.app[REPORTER].own().cluster())


async def stats(request: web.Request) -> web.Response:
    """What all workers have done, as JSON: counts since their start."""
    return web.json_response({"bounds": BOUNDS, **asdict(request.app[REPORTER].all())})


async def metrics(request: web.Request) -> web.Response:
    """The same for Prometheus."""
    families = router_families(request.app[REPORTER].all())
    body, content_type = exposition(families, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _name_the_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
