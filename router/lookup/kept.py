"""Topologies of datasets that were served before, kept for a while: what was begun with one is ended with it.

    POST /mget, window 1 of dataset A ──► swap to B ──► windows 2, 3, … of A, from the topology that is kept
    GET /<key>?dataset=A                           ──► the same

They are apart from the lookups, as all other requests need only the current topology.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from ringkv.router.lookup.topology import Topology
from ringkv.router.policy import KEEP_SECONDS, KEPT_TOPOLOGIES


@dataclass(eq=False, frozen=True, slots=True)
class _Kept:
    topology: Topology
    until: float  # seconds of the loop's clock
    timer: asyncio.TimerHandle


class Kept:
    """At most KEPT_TOPOLOGIES, the latest ones, each for KEEP_SECONDS, with all of its leases."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: dict[str, _Kept] = {}  # by dataset, the latest last

    def __iter__(self) -> Iterator[tuple[Topology, float]]:
        """The topologies, each with the seconds for which it is still kept."""
        now = self._loop.time()
        return iter([(kept.topology, max(0.0, kept.until - now)) for kept in self._kept.values()])

    def find(self, dataset_id: str) -> Topology | None:
        kept = self._kept.get(dataset_id)
        return kept.topology if kept is not None else None

    def keep(self, topology: Topology) -> None:
        """Keep a topology that is not served any more. There must be none of the same dataset."""
        dataset_id = topology.dataset_id
        timer = self._loop.call_later(KEEP_SECONDS, self.let_go, dataset_id)
        self._kept[dataset_id] = _Kept(topology, self._loop.time() + KEEP_SECONDS, timer)
        if len(self._kept) > KEPT_TOPOLOGIES:
            self.let_go(next(iter(self._kept)))

    def renew(self, topology: Topology) -> bool:
        """Keep this topology in place of that of the same dataset, until the same time; False if there is none."""
        kept = self._kept.get(topology.dataset_id)
        if kept is None:
            return False
        self._kept[topology.dataset_id] = _Kept(topology, kept.until, kept.timer)
        kept.topology.retire()
        return True

    def let_go(self, dataset_id: str) -> None:
        """If this dataset is kept, give its leases back as soon as all that was begun has ended."""
        kept = self._kept.pop(dataset_id, None)
        if kept is not None:
            kept.timer.cancel()
            kept.topology.retire()

    def let_all_go(self) -> None:
        for dataset_id in list(self._kept):
            self.let_go(dataset_id)
