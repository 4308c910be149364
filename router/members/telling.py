"""Tells shards the topology that the router has gone over to, so that they can tell clients who come directly.

    swap ──► TOPOLOGY on a link of each shard: of the new topology, or of an old one that is about to close
               └─ STALE: another router has said something else meanwhile ──► once more, above its epoch

Nothing is told if no shard announces an address, as then no client comes directly.
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from ringkv.cluster.errors import PeerError
from ringkv.cluster.nodes import MAX_EPOCH, STALE, Node, NodeTable
from ringkv.resp.view import ClusterView
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.topology import Topology

log = logging.getLogger("ringkv.router")

ATTEMPTS: Final = 8
"""How often a topology is told, at most: it has to be told again whenever another router was faster."""

_stale_epoch = re.compile(rf"{STALE} ([0-9]{{1,16}})\b").match


class Teller:
    """`view` is what clients of the router's own Redis port are told, None if no shard announces an address.

    `begins` is true until the shards have been told the first topology, before which they cannot redirect clients.
    """

    def __init__(self) -> None:
        self.view: ClusterView | None = None
        self.begins = False
        self._table: NodeTable | None = None  # the latest
        self._task: asyncio.Task[None] | None = None

    def tell(self, topology: Topology, nodes: Iterable[Node], others: Mapping[Link, str]) -> None:
        """Tell a topology to its shards, and to those behind `others`: further links, with the run ids of their shards.

        It is sent on a link before that closes, if the link is retired after this call.
        """
        epoch = self._table.epoch + 1 if self._table else 1
        ring = topology.ring
        table = NodeTable(epoch, topology.dataset_id, ring.partitions, ring.replicas, tuple(sorted(nodes)), ring.extra)
        if not any(node.host for node in table.nodes) and self.view is None:
            return
        self.begins = self.begins or self._table is None
        self._table = table
        if self._task is not None:
            self._task.cancel()
        links = {others.get(link, ""): link for link in others if link.open}  # one of each run
        links |= {others.get(link, ""): link for link in topology.links.values() if link.open}
        self._task = asyncio.create_task(self._go_on(table, topology, _ask(table, links.values())))

    async def _go_on(self, table: NodeTable, topology: Topology, asked: asyncio.Future[list[Any]]) -> None:
        announced = any(node.host for node in table.nodes)
        self.view = await asyncio.to_thread(ClusterView, table, "") if announced else None
        for _ in range(ATTEMPTS):
            replies = await asked
            epochs = [int(found[1]) for reply in replies if (found := _stale_epoch(str(reply)))]
            for reply in replies:
                if isinstance(reply, PeerError) and not _stale_epoch(str(reply)):
                    log.warning("a shard was not told the topology: %s", reply)
            if not epochs or max(epochs) >= MAX_EPOCH:
                break
            table = self._table = replace(table, epoch=max(epochs) + 1)
            asked = _ask(table, [link for link in topology.links.values() if link.open])
        self.begins = False


def _ask(table: NodeTable, links: Iterable[Link]) -> asyncio.Future[list[Any]]:
    return asyncio.gather(*(link.ask(*table.command()) for link in links), return_exceptions=True)
