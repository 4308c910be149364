"""The way of one key, told step by step and timed: what a lookup does, at a pace at which one can look at it."""

import asyncio
import json
from time import perf_counter_ns
from typing import Any, Final

from aiohttp import web

from cluster.errors import PeerError, ShardUnavailable
from cluster.position import canonical, position
from router.layout import fraction
from router.link import Link
from router.lookup import Lookups
from router.policy import DEADLINE
from router.reporter import Reporter
from router.topology import Topology

FROM_SHARD: Final = ("found", "rank", "offset", "size", "file")
"""What the shard says of the key, and this passes on as it is."""


class Explanations:
    """What `GET /explain/<key>` answers."""

    def __init__(self, lookups: Lookups, reporter: Reporter) -> None:
        self._lookups = lookups
        self._reporter = reporter

    async def answer(self, request: web.Request) -> web.Response:
        """`GET /explain/<key>`. Raises InvalidKey, ShardUnavailable."""
        explanation = await self._explain(request.match_info["key"].encode())
        return web.json_response(explanation, headers={"Cache-Control": "no-store"})

    async def _explain(self, text: bytes) -> dict[str, Any]:
        """The steps of Lookups, one after the other. `position` is a string: JSON's numbers end at 2^53."""
        clock = perf_counter_ns
        started = clock()
        key = canonical(text)
        parsed = clock()
        at = position(key)
        placed = clock()
        topology = self._lookups.topology
        if topology is None:
            raise ShardUnavailable("there is no ring yet: no shard could be reached")
        partition = at >> topology.shift
        routes = topology.routes[partition]
        routed = clock()
        owners = self._owners(topology, partition)
        said, sent, received = await _ask(routes, key)
        return {
            "key": key.decode(),
            "position": str(at),
            "fraction": fraction(at),
            "partition": partition,
            "partitions": topology.ring.partitions,
            "owners": owners,
            "dataset": topology.dataset_id,
            "epoch": topology.epoch,
            "shard": said["name"],
            **{name: said[name] for name in FROM_SHARD},
            "microseconds": {
                "parse": _us(parsed - started),
                "position": _us(placed - parsed),
                "route": _us(routed - placed),
                "round_trip": _us(received - sent),
                "shard": {step: _us(ns) for step, ns in said["ns"].items()},
            },
        }

    def _owners(self, topology: Topology, partition: int) -> list[dict[str, Any]]:
        addresses = {shard.name: shard.address for shard in self._reporter.own().shards}
        return [
            {
                "name": name,
                "address": addresses.get(name),
                "open": topology.links[name].open,
                "unanswered": topology.links[name].unanswered,
            }
            for name in topology.ring.owners[partition]
        ]


async def _ask(routes: tuple[Link, ...], key: bytes) -> tuple[dict[str, Any], int, int]:
    """What the first owner that can tell says of the key, when it was asked, and when it had answered.

    Raises ShardUnavailable with the last owner's reason.
    """
    reason = "no shard that owns this key could be reached"
    try:
        async with asyncio.timeout(DEADLINE):
            for link in routes:
                sent = perf_counter_ns()
                try:
                    reply = await link.call("EXPLAIN", key)
                    received = perf_counter_ns()
                    said = _parse(reply)
                except (PeerError, ConnectionError) as error:
                    reason = str(error)
                    continue
                if said["loaded"]:
                    return said, sent, received
                reason = said["refusal"]
    except TimeoutError:
        reason = f"no shard that owns this key has answered within {DEADLINE:.0f} s"
    raise ShardUnavailable(reason)


def _parse(reply: Any) -> dict[str, Any]:
    """Read a shard's account. Raises PeerError where it is none."""
    wanted = {"name", "loaded", "refusal", "ns", *FROM_SHARD}
    try:
        said = json.loads(reply)
    except (TypeError, ValueError):
        said = None
    if not isinstance(said, dict) or not wanted <= said.keys() or not isinstance(said["ns"], dict):
        raise PeerError("what answers there does not explain as a ringkv shard does")
    return said


def _us(ns: int) -> float:
    return round(ns / 1000, 2)
