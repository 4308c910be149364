"""The router's HTTP port: aiohttp's server, whose connections have the express lane in front of them."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from ringkv.process.access import OPEN, Access
from ringkv.process.connections import ConnectionGuard
from ringkv.process.http_runner import HttpRunner
from ringkv.process.proxied import Proxied
from ringkv.process.turns import Turns
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.answers import common_headers
from ringkv.router.http.app import Part, build_app
from ringkv.router.http.express import ExpressConnection, Lane
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.policy import DRAIN_SECONDS


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`cors` is the origin whose pages may read, or `*`; `proxied` connections begin with a PROXY protocol's header.

    `access` says who may read, and has TLS's contexts. `part` is which paths are answered here.
    Without `express` aiohttp answers everything, which tests compare with the lane.
    """

    cors: str | None = None
    proxied: bool = False
    express: bool = True
    shutdown_timeout: float = DRAIN_SECONDS
    access: Access = OPEN
    part: Part = Part.ALL


class HttpPort(HttpRunner):
    """All connections of the port."""

    def __init__(self, lookups: Lookups, reporter: Reporter, guard: ConnectionGuard, settings: HttpSettings) -> None:
        common = common_headers(settings.cors)
        super().__init__(
            build_app(lookups, reporter, common, settings.access.tokens, settings.part),
            self._connect,
            handler_cancellation=True,  # when a client has gone, its request is dropped
            shutdown_timeout=settings.shutdown_timeout,
        )
        self._guard = guard
        self._common = common
        self._turns = Turns()
        self._lane = (
            Lane(lookups, common, settings.access.tokens)
            if settings.express and settings.part is not Part.ADMIN
            else None
        )
        self._proxied = settings.proxied
        self._access = settings.access

    def leave(self) -> None:
        """Have clients move on: each connection ends behind its next answer, which says so. Again for new ones."""
        for connection in self.server.connections if self.server is not None else ():
            if isinstance(connection, ExpressConnection):
                connection.leave()

    def _connect(self, server: web.Server, **kwargs: Any) -> asyncio.Protocol:
        connection = partial(ExpressConnection, server, self._guard, self._common, self._turns, self._lane, **kwargs)
        secured = self._access.secured(connection, self._guard)
        return Proxied(self._guard, secured) if self._proxied else secured()
