"""Gathers what all workers of a router have to tell: whichever of them is asked answers for all.

client ──► any worker ──► figures of its own
                └──────► the other workers, each on a Unix socket of its own ──► their figures ──► sum
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

from cluster.address import Address, bind
from cluster.lag import LoopLag
from router.controller import Controller
from router.figures import Figures, merge, own_figures
from router.lookup import Lookups

log = logging.getLogger("ringkv.router")

PATIENCE: Final = ClientTimeout(total=0.5)
"""A worker that does not answer in this time is left out: who asks would rather know about the others now."""


class Reporter:
    """`others` are the sockets on which the other workers of the same router tell their figures."""

    def __init__(self, lookups: Lookups, controller: Controller, others: tuple[Path, ...] = ()) -> None:
        self._lookups = lookups
        self._controller = controller
        self._others = others
        self._lag = LoopLag()

    def own(self) -> Figures:
        """Those of this worker alone."""
        return own_figures(self._lookups, self._controller, self._lag.seconds)

    async def all(self) -> Figures:
        """Those of all workers that answer."""
        others = await asyncio.gather(*map(_ask, self._others))
        return merge(self.own(), [figures for figures in others if figures is not None])

    @asynccontextmanager
    async def telling(self, path: Path | None) -> AsyncIterator[None]:
        """Measure how late the loop is, and tell the other workers what they ask for on a Unix socket at `path`."""
        app = web.Application()
        app.router.add_get("/", self._tell)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        measuring = asyncio.create_task(self._lag.watch())
        try:
            if path is not None:
                await web.SockSite(runner, bind(Address(str(path), None))).start()
            yield
        finally:
            measuring.cancel()
            await asyncio.wait([measuring])
            await runner.cleanup()

    async def _tell(self, _request: web.Request) -> web.Response:
        return web.json_response(asdict(self.own()))


async def _ask(path: Path) -> Figures | None:
    try:
        async with (
            ClientSession(connector=UnixConnector(str(path)), timeout=PATIENCE) as session,
            session.get("http://worker/") as response,
        ):
            return Figures.parse(await response.json())
    except (ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        log.debug("worker at %s tells nothing: %s", path, error)
        return None
