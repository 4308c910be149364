"""The shard's small HTTP port, for people and probes; routers use RESP."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from ringkv.cluster.errors import DatasetError, InvalidKey, LargeValue
from ringkv.cluster.position import canonical
from ringkv.process.access import OPEN, Access
from ringkv.process.address import BACKLOG, Address, bind, listeners
from ringkv.process.exposition import exposition
from ringkv.process.http import COPIES, GuardedConnection
from ringkv.process.http_runner import HttpRunner
from ringkv.process.lag import LoopLag
from ringkv.shard.metrics import shard_families
from ringkv.shard.refusal import no_memory
from ringkv.shard.state import ShardState
from ringkv.shard.version import Version

STATE = web.AppKey("state", ShardState)
LAG = web.AppKey("lag", LoopLag)

log = logging.getLogger("ringkv.shard")


async def answer(address: Address, state: ShardState, access: Access) -> web.AppRunner:
    """The port, which answers at this address from now on. Raises StartupError."""
    port = runner(state, access)
    await port.setup()
    listening = bind(address)
    for listener in listeners(listening):
        await web.SockSite(port, listener, backlog=BACKLOG).start()
    log.info("shard %s answers HTTP on %s", state.name, Address.of(listening))
    return port


def runner(state: ShardState, access: Access = OPEN) -> web.AppRunner:
    """The port."""

    def connect(server: web.Server, **kwargs: Any) -> asyncio.Protocol:
        return access.secured(partial(GuardedConnection, server, state.guard, **kwargs), state.guard)()

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
    """The shard can be given work: it is not about to leave, and what was asked for lately could be read."""
    state = request.app[STATE]
    fetches = state.fetches
    if state.draining:
        return web.Response(status=503, text="draining\n")
    if not state.versions.offered:
        return web.Response(status=503, text="no version of the data yet\n")
    if fetches.unavailable:
        return web.Response(status=503, text=f"what is asked for cannot be fetched: {fetches.unavailable}\n")
    if fetches.failing:
        return web.Response(text=f"ready, with what is in the cache: {fetches.failing}\n")
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """For Prometheus."""
    families = shard_families(request.app[STATE], request.app[LAG].seconds)
    body, content_type = exposition(families, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def value(request: web.Request) -> web.Response:
    """One value of the newest version, if its partition is leased here."""
    state = request.app[STATE]
    if state.tokens is not None and not state.tokens.admits(request.headers.get(hdrs.AUTHORIZATION, "")):
        state.tokens.refused += 1
        headers = {hdrs.WWW_AUTHENTICATE: "Bearer"}
        return web.Response(status=401, text="a token is needed: Authorization: Bearer <token>\n", headers=headers)
    versions = state.versions
    if not versions.offered:
        return web.Response(status=503, text="no version of the data yet\n")
    try:
        found = await _found(state, request, canonical(request.match_info["key"].encode()))
    except InvalidKey as error:
        return web.Response(status=400, text=f"{error}\n")
    except DatasetError as error:
        return web.Response(status=503, text=f"{error}\n")
    if found is None:
        return web.Response(status=404, text="no such key\n")
    return web.Response(body=found, content_type="text/plain", charset="utf-8")


async def _found(state: ShardState, request: web.Request, key: bytes) -> bytes | None:
    """The value of a canonical key. Raises DatasetError."""
    versions = state.versions
    while True:
        version = versions.newest
        try:
            return await _read(state, request, version, key)
        except DatasetError:
            if version is versions.newest:
                raise


async def _read(state: ShardState, request: web.Request, version: Version, key: bytes) -> bytes | None:
    """The value in this version; what is large has its memory claimed until it is sent. Raises DatasetError."""
    try:
        return await version.reads.patiently(partial(version.bounded.get, key))
    except LargeValue as large:
        size = large.size
    connection = request.protocol
    assert isinstance(connection, GuardedConnection)
    try:
        connection.keep(await state.guard.budget.claim(COPIES * size))
    except TimeoutError:
        raise DatasetError(no_memory(size)) from None
    return await version.reads.patiently(partial(version.bounded.piece, key, 0, size))


async def _watch_lag(app: web.Application) -> AsyncIterator[None]:
    watching = asyncio.create_task(app[LAG].watch())
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
