"""The ring's layout, for a picture of it: who owns which arc, where the virtual nodes are, what the last change moved.

Apart from the figures, which change all the time: a layout is as large as the ring, and true as long as its topology.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, TypeVar

from aiohttp import web

from cluster.errors import ShardUnavailable
from cluster.position import POSITION_BITS
from cluster.ring import Ring, points
from router.lookup import Lookups
from router.topology import Topology

T = TypeVar("T")

MAX_POINTS: Final = 4096
"""Virtual nodes in a layout: as many as a picture can show, and 60 KB. 32 shards have 16,384 of them."""


class Layouts:
    """The layout of the current topology, computed once for each topology that somebody asks about."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._topology: Topology | None = None
        self._body: asyncio.Future[bytes] | None = None

    async def answer(self, _request: web.Request) -> web.Response:
        """`GET /ring/layout`. Raises ShardUnavailable where there is no ring."""
        topology = self._lookups.topology
        if topology is None:
            raise ShardUnavailable("there is no ring yet: no shard could be reached")
        if self._body is None or self._topology is not topology:
            self._topology = topology
            self._body = asyncio.ensure_future(asyncio.to_thread(_encoded, topology))
        # Who asks may leave; the others that wait for the same layout stay.
        body = await asyncio.shield(self._body)
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


def layout(topology: Topology) -> dict[str, Any]:
    """The body of `GET /ring/layout`. Shards are given by their index in `shards`.

    `arcs` are `[first partition, shard]`: runs of partitions with the same preferred owner, up to the next run.
    `points` are `[position as a fraction of the ring, shard]`: the virtual nodes, or every n-th of them so that there
    are at most MAX_POINTS; `virtual_nodes` is the number of all. `moved` are `[first partition, count]`: runs
    whose preferred owner changed with this topology.
    """
    ring = topology.ring
    index = {name: at for at, name in enumerate(ring.names)}
    nodes = points(ring.names).get_points()
    step = math.ceil(len(nodes) / MAX_POINTS)
    return {
        "epoch": topology.epoch,
        "dataset": topology.dataset_id,
        "ring": ring.ring_id,
        "partitions": ring.partitions,
        "shards": ring.names,
        "arcs": [[first, index[name]] for first, _, name in _runs([owners[0] for owners in ring.owners])],
        "virtual_nodes": len(nodes),
        "points": [[fraction(position), index[name]] for position, name in nodes[::step]],
        "moved": _moved(topology.before, ring) if topology.before else [],
    }


def fraction(position: int) -> float:
    """Where a position is on the ring: 0 to 1, rounded to 6 digits."""
    return round(position / (1 << POSITION_BITS), 6)


def _moved(before: Ring, after: Ring) -> list[list[int]]:
    changed = [old[0] != new[0] for old, new in zip(before.owners, after.owners, strict=True)]
    return [[first, count] for first, count, has_moved in _runs(changed) if has_moved]


def _runs(values: list[T]) -> Iterator[tuple[int, int, T]]:
    """Runs of equal values: where each begins, its length, the value."""
    first = 0
    for value, run in groupby(values):
        count = sum(1 for _ in run)
        yield first, count, value
        first += count


def _encoded(topology: Topology) -> bytes:
    return json.dumps(layout(topology), separators=(",", ":")).encode()
