"""The way of one key, told step by step and timed: what a lookup does, one step after the other."""

import asyncio
import json
from time import perf_counter_ns
from typing import Any, Final

from aiohttp import web

from ringkv.cluster import told
from ringkv.cluster.errors import PeerError, ShardUnavailable
from ringkv.cluster.place import ANYWHERE
from ringkv.cluster.position import canonical, position, slot_at
from ringkv.router.figures.reporter import Reporter
from ringkv.router.http.answers import fresh_json
from ringkv.router.http.layout import fraction
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.lookup.unanswered import UNREACHABLE, no_ring
from ringkv.router.policy import DEADLINE

FROM_SHARD: Final = ("block", "checked", "found", "rank", "offset", "size", "file")
"""Fields of the shard's reply that are passed on as they are."""


class Explanations:
    """What `GET /explain/<key>` answers."""

    def __init__(self, lookups: Lookups, reporter: Reporter) -> None:
        self._lookups = lookups
        self._reporter = reporter

    async def answer(self, request: web.Request) -> web.Response:
        """`GET /explain/<key>`. Raises InvalidKey, ShardUnavailable."""
        return fresh_json(await self._explain(request.match_info["key"].encode()))

    async def _explain(self, text: bytes) -> dict[str, Any]:
        """The account, as JSON's types. `position` is a string, since JSON's numbers are exact up to 2^53 only."""
        clock = perf_counter_ns
        started = clock()
        key = canonical(text)
        parsed = clock()
        at = position(key)
        placed = clock()
        topology = self._lookups.topology
        if topology is None:
            raise no_ring()
        partition = slot_at(at) >> topology.shift
        routes = topology.routes[partition]
        routed = clock()
        owners = self._owners(topology, partition)
        said, sent, received = await _ask(routes, key)
        return {
            "key": key.decode(),
            "position": str(at),
            "fraction": fraction(at),
            "slot": slot_at(at),
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
        places = topology.ring.places
        return [
            {
                "name": name,
                "address": addresses.get(name),
                "zone": places.get(name, ANYWHERE).zone,
                "open": topology.links[name].open,
                "in_flight": topology.links[name].in_flight,
            }
            for name in topology.ring.owners[partition]
        ]


async def _ask(routes: tuple[Link, ...], key: bytes) -> tuple[dict[str, Any], int, int]:
    """The reply of the first owner that gives one, and when that was asked and had answered, in ns of a clock.

    Raises ShardUnavailable with the last owner's reason.
    """
    reason = UNREACHABLE
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
                if said["refusal"] is None:
                    return said, sent, received
                reason = said["refusal"]
    except TimeoutError:
        reason = f"no shard that owns this key has answered within {DEADLINE:.0f} s"
    raise ShardUnavailable(reason)


def _parse(reply: Any) -> dict[str, Any]:
    """Read a shard's reply to EXPLAIN. Raises PeerError."""
    wanted = {"name", "refusal", "ns", *FROM_SHARD}
    try:
        said = json.loads(reply)
    except (TypeError, ValueError):
        said = None
    if not isinstance(said, dict) or not wanted <= said.keys() or not _is_right(said):
        raise PeerError("what answers there does not explain as a ringkv shard does")
    return {**said, "refusal": None if said["refusal"] is None else told.line(said["refusal"])}


def _is_right(said: dict[str, Any]) -> bool:
    """Whether each field has a type and a range that a shard's reply may have."""
    name, refusal, file, ns = said["name"], said["refusal"], said["file"], said["ns"]
    numbers = [said["block"], *(said[field] for field in ("rank", "offset", "size") if said[field] is not None)]
    steps = ns if isinstance(ns, dict) else {"": None}
    return (
        all(isinstance(text, str) for text in (name, file, "" if refusal is None else refusal))
        and told.is_name(name) is not None
        and type(said["checked"]) is bool
        and (said["found"] is None or type(said["found"]) is bool)
        and all(type(number) is int and 0 <= number < 1 << 63 for number in (*numbers, *steps.values()))
        and all(step.isidentifier() for step in steps)
    )


def _us(ns: int) -> float:
    return round(ns / 1000, 2)
