"""Endpoints about the router itself: whether it lives and can serve, its state and its figures."""

from dataclasses import asdict

from aiohttp import hdrs, web

from ringkv.cluster.errors import ShardUnavailable
from ringkv.process.exposition import exposition
from ringkv.router.figures.chronicle import told
from ringkv.router.figures.metrics import router_families
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.answers import Refusal, fresh_json, plain
from ringkv.router.lookup.durations import BOUNDS
from ringkv.router.lookup.lookup import Lookups


class Health:
    """The handlers of these endpoints."""

    def __init__(self, lookups: Lookups, reporter: Reporter) -> None:
        self._lookups = lookups
        self._reporter = reporter

    async def live(self, _request: web.Request) -> web.Response:
        """The process answers."""
        return plain("ok")

    async def ready(self, _request: web.Request) -> web.Response:
        """200 if there is a topology, a part of it can be reached, and shards know it. Raises ShardUnavailable."""
        topology = self._lookups.topology
        if topology is None or not any(link.open for link in topology.links.values()):
            raise ShardUnavailable("no shard can be reached")
        if self._reporter.begins:
            raise ShardUnavailable("the shards are being told who owns what")
        return plain("ready")

    async def ring(self, _request: web.Request) -> web.Response:
        """The topology as JSON."""
        return fresh_json(self._reporter.own().cluster())

    async def versions(self, _request: web.Request) -> web.Response:
        """Which version of the data is served since when, and what the next one waits for, as JSON."""
        return fresh_json(asdict(self._reporter.versions()))

    async def stats(self, _request: web.Request) -> web.Response:
        """What all workers have done, as JSON: counts since their start."""
        return fresh_json({"bounds": BOUNDS, **asdict(self._reporter.all())})

    async def history(self, request: web.Request) -> web.Response:
        """The last hour as JSON; with `?since=`, Unix seconds, what came after that. Raises Refusal."""
        text = request.query.get("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise Refusal(400, f"not a time in Unix seconds: since={text[:40]!r}")
        return fresh_json(self._reporter.history.told(int(text)))

    async def events(self, _request: web.Request) -> web.Response:
        """What has happened to the cluster, as JSON, the oldest first."""
        return fresh_json({"events": told(self._reporter.chronicle.all())})

    async def hot(self, _request: web.Request) -> web.Response:
        """The keys that are asked for most, as JSON."""
        return fresh_json(asdict(self._reporter.hottest.all()))

    async def metrics(self, request: web.Request) -> web.Response:
        """The figures in Prometheus's format, or in that of OpenMetrics."""
        families = router_families(self._reporter.all())
        body, content_type = exposition(families, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
