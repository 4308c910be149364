"""The shard's small HTTP port, for people and probes; routers use RESP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from ringkv.cluster.errors import DatasetError, InvalidKey
from ringkv.cluster.position import canonical
from ringkv.process.exposition import exposition
from ringkv.process.http import GuardedConnection, HttpRunner
from ringkv.process.lag import LoopLag
from ringkv.shard.metrics import shard_families
from ringkv.shard.state import ShardState

STATE = web.AppKey("state", ShardState)
LAG = web.AppKey("lag", LoopLag)


def runner(state: ShardState) -> web.AppRunner:
    """The port."""

    def connect(server: web.Server, **kwargs: Any) -> GuardedConnection:
        return GuardedConnection(server, state.guard, **kwargs)

    return HttpRunner(build_app(state), connect)


def build_app(state: ShardState) -> web.Application:
    app = web.Application()
    app[STATE] = state
    app[LAG] = LoopLag()
    app.cleanup_ctx.append(_watch_lag)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/{key}", value)
    return app


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """The shard can be given work: it is not about to leave."""
    if request.app[STATE].draining:
        return web.Response(status=503, text="draining\n")
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """For Prometheus."""
    families = shard_families(request.app[STATE], request.app[LAG].seconds)
    body, content_type = exposition(families, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def value(request: web.Request) -> web.Response:
    """One value, if its partition is leased here."""
    state = request.app[STATE]
    try:
        key = canonical(request.match_info["key"].encode())
        found = await state.reads.patiently(partial(state.store.get, key))
    except InvalidKey as error:
        return web.Response(status=400, text=f"{error}\n")
    except DatasetError as error:
        return web.Response(status=503, text=f"{error}\n")
    if found is None:
        return web.Response(status=404, text="no such key\n")
    return web.Response(body=found, content_type="text/plain", charset="utf-8")


async def _watch_lag(app: web.Application) -> AsyncIterator[None]:
    watching = asyncio.create_task(app[LAG].watch())
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
