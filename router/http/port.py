"""The router's HTTP port: aiohttp's server, whose connections have the express lane in front of them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from ringkv.process.proxied import Proxied
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.answers import common_headers
from ringkv.router.http.app import build_app
from ringkv.router.http.express import ExpressConnection, Lane
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import DRAIN_SECONDS


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`cors` is the origin whose pages may read, or `*`; `proxied` connections begin with a PROXY protocol's header.

    Without `express` aiohttp answers everything, which tests compare with the lane.
    """

    cors: str | None = None
    proxied: bool = False
    express: bool = True
    shutdown_timeout: float = DRAIN_SECONDS


class HttpPort(web.AppRunner):
    """All connections of the port."""

    def __init__(self, lookups: Lookups, reporter: Reporter, settings: HttpSettings) -> None:
        common = common_headers(settings.cors)
        super().__init__(
            build_app(lookups, reporter, common),
            access_log=None,
            handler_cancellation=True,  # when a client has gone, its request is dropped
            auto_decompress=False,  # a body is read as it is, or not at all: 2 MB may be 2 GB behind their encoding
            shutdown_timeout=settings.shutdown_timeout,
        )
        self._common = common
        self._lane = Lane(lookups, common) if settings.express else None
        self._proxied = settings.proxied

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._common, self._lane, proxied=self._proxied)


class _Server(web.Server):
    """Makes a protocol for each connection, otherwise as the server that aiohttp would have made."""

    def __init__(self, general: web.Server, common: Mapping[str, str], lane: Lane | None, *, proxied: bool) -> None:
        super().__init__(
            general.request_handler,
            request_factory=general.request_factory,
            handler_cancellation=general.handler_cancellation,
            loop=general._loop,  # noqa: SLF001 - aiohttp has no other way to bring one's own protocol
            **general._kwargs,  # noqa: SLF001
        )
        self._common = common
        self._lane = lane
        self._proxied = proxied

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # with a header before it, it is another protocol
        return Proxied(self._connection) if self._proxied else self._connection()

    def _connection(self) -> ExpressConnection:
        return ExpressConnection(self, self._common, self._lane, loop=self._loop, **self._kwargs)
