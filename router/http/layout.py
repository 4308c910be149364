"""The ring's layout, for a picture of it: who owns which arc, where the virtual nodes are, what the last change moved.

It is apart from the figures, which change all the time: a layout is large, and stays the same as long as its topology.
"""

import asyncio
import json
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, TypeVar

from aiohttp import web

from ringkv.cluster.placing import points
from ringkv.cluster.position import POSITION_BITS
from ringkv.cluster.ring import Ring
from ringkv.router.http.answers import fresh_json
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.lookup.unanswered import no_ring
from ringkv.router.policy import LAYOUT_POINTS

T = TypeVar("T")


class Layouts:
    """The layout of the current topology, computed once for each topology when it is first asked for."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._topology: Topology | None = None
        self._body: asyncio.Future[bytes] | None = None

    async def answer(self, _request: web.Request) -> web.Response:
        """`GET /ring/layout`. Raises ShardUnavailable where there is no ring."""
        topology = self._lookups.topology
        if topology is None:
            raise no_ring()
        if self._body is None or self._topology is not topology:
            self._topology = topology
            self._body = asyncio.ensure_future(asyncio.to_thread(_encoded, topology))
        # A client that leaves must not cancel the computation that others wait for too.
        return fresh_json(await asyncio.shield(self._body))


def layout(topology: Topology) -> dict[str, Any]:
    """The body of `GET /ring/layout`. Shards are given by their index in `shards`.

    `bands` has a list for each replica, the preferred owners first, of `[first partition, shard]`: runs of partitions
    with the same owner, up to the next run. `extra` are `[partition, shard]`: owners of hot partitions beside these.
    `points` are `[position as a fraction of the ring, shard]`: the virtual nodes, or every n-th of them so that there
    are at most LAYOUT_POINTS; `virtual_nodes` is the number of all. `moved` has a list for each replica
    of `[first partition, count]`: runs whose owner in that band did not own them before this topology.
    """
    ring = topology.ring
    index = {name: at for at, name in enumerate(ring.names)}
    nodes = points(ring.names, ring.places).get_points()
    step = math.ceil(len(nodes) / LAYOUT_POINTS)
    return {
        "epoch": topology.epoch,
        "dataset": topology.dataset_id,
        "ring": ring.ring_id,
        "partitions": ring.partitions,
        "shards": ring.names,
        "bands": [[[first, index[name]] for first, _, name in _runs(band)] for band in _bands(ring)],
        "extra": [[partition, index[name]] for partition, names in ring.extra_owners.items() for name in names],
        "virtual_nodes": len(nodes),
        "points": [[fraction(position), index[name]] for position, name in nodes[::step]],
        "moved": _moved(topology.before, ring) if topology.before else [],
    }


def fraction(position: int) -> float:
    """Where a position is on the ring: 0 to 1, rounded to 6 digits."""
    return round(position / (1 << POSITION_BITS), 6)


def _bands(ring: Ring) -> Iterator[tuple[str, ...]]:
    """The first owner of each partition, then the second, and so on; without extra ones."""
    return zip(*(owners[: ring.copies] for owners in ring.owners), strict=True)


def _moved(before: Ring, after: Ring) -> list[list[list[int]]]:
    """The runs of each band whose owners did not own them in any band before."""
    owned = [frozenset(owners) for owners in before.owners]
    new = ([name not in names for name, names in zip(band, owned, strict=True)] for band in _bands(after))
    return [[[first, count] for first, count, is_new in _runs(band) if is_new] for band in new]


def _runs(values: Iterable[T]) -> Iterator[tuple[int, int, T]]:
    """Runs of equal values: where each begins, its length, the value."""
    first = 0
    for value, run in groupby(values):
        count = sum(1 for _ in run)
        yield first, count, value
        first += count


def _encoded(topology: Topology) -> bytes:
    return json.dumps(layout(topology), separators=(",", ":")).encode()
