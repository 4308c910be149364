"""A shard as a node of a Redis Cluster: which topology it tells clients, and what it keeps leased for them.

    TOPOLOGY ──► heard ──ring built, own partitions leased──► in force ──► CLUSTER SLOTS, -MOVED
                                                                 │
                        the last router's lease ends ──grace──► none: -CLUSTERDOWN

A router's leases end with its connections, since it leases again at once wherever it is needed. Clients that come
directly know nothing of leases: for them the topology in force has a lease of its own, which outlives the routers.
"""

import asyncio
import logging

from ringkv.cluster.errors import BlockNotFetched, CorruptBlock, RingkvError
from ringkv.cluster.nodes import STALE, NodeTable, hear, key_slot
from ringkv.cluster.position import canonical, slot
from ringkv.process.address import Address
from ringkv.resp import codec
from ringkv.resp.cluster import DOWN, Elsewhere
from ringkv.resp.view import ClusterView
from ringkv.shard.leases import Lease
from ringkv.shard.refusal import refusal
from ringkv.shard.version import Version
from ringkv.shard.versions import Versions

log = logging.getLogger("ringkv.shard")


class ClusterNode:
    """`view` is the topology in force, None before the first and when no router has been there for `grace` seconds.

    `redirects` is how many requests were answered with MOVED or ASK.
    """

    def __init__(self, name: str, address: Address, grace: float, versions: Versions, building: asyncio.Lock) -> None:
        """`building` is held while a ring is built."""
        self.name = name
        self.address = address
        self.view: ClusterView | None = None
        self.redirects = 0
        self._grace = grace
        self._versions = versions
        self._building = building
        self._heard: NodeTable | None = None  # the newest, which may not be in force yet
        self._held: tuple[Version, Lease] | None = None
        self._routers: set[object] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._going_over: asyncio.Task[None] | None = None

    @property
    def learns(self) -> bool:
        """Whether a first topology was heard that is not in force yet."""
        return self.view is None and self._heard is not None

    @property
    def replaced(self) -> bool:
        """Whether, by what routers told last, other shards have taken over."""
        return self._heard is not None and self.name not in self._heard.names

    def hear(self, table: NodeTable) -> bytes:
        """Take what a router tells; returns the reply. It is in force soon after, unless something newer comes."""
        heard = hear(self._heard, table)
        if heard is None:
            epoch = self._heard.epoch if self._heard else 0
            return codec.error(STALE, f"{epoch} is the epoch of what {self.name} was told last")
        self._heard = heard
        if self._going_over is None or self._going_over.done():
            self._going_over = asyncio.create_task(self._go_over())
        return codec.simple(f"OK {heard.epoch}")

    def joined(self, router: object) -> None:
        """A router has leased on this connection."""
        self._routers.add(router)
        self._stop_timer()

    def left(self, router: object) -> None:
        """The lease of this connection has ended."""
        self._routers.discard(router)
        if not self._routers and self._heard is not None:
            self._timer = asyncio.get_running_loop().call_later(self._grace, self._expire)

    def redirect(self, error: RingkvError, key: bytes) -> bytes:
        """The reply to a client whose key cannot be read here, for this reason."""
        if isinstance(error, CorruptBlock):
            return refusal(error)
        if self.view is None:
            return DOWN
        if isinstance(error, BlockNotFetched):
            return Elsewhere(codec.error("CLUSTERDOWN", str(error)))
        wanted, hashed, word = canonical(key), key_slot(key), "MOVED"
        owners = self.view.slot_map.owners(slot(wanted))
        if wanted != key and (asked := self.view.slot_map.owners(hashed)):
            # In upper case a key hashes to another slot than that of the canonical text, where it lies. Whom the map
            # sends such a client to says ASK: MOVED would spoil a map that is right, and some clients fetch it anew.
            if any(node.name == self.name for node in asked):
                word = "ASK"
            else:
                owners = asked
        if not owners or owners[0].name == self.name:
            return Elsewhere(codec.error("CLUSTERDOWN", str(error)))
        self.redirects += 1
        return Elsewhere(codec.error(word, f"{hashed} {owners[0].host}:{owners[0].port}"))

    async def settled(self) -> None:
        """Wait until what was heard is in force."""
        if self._going_over is not None:
            await asyncio.wait([self._going_over])

    async def close(self) -> None:
        self._stop_timer()
        if self._going_over is not None:
            self._going_over.cancel()
            await asyncio.gather(self._going_over, return_exceptions=True)
        self._hold(None)

    async def _go_over(self) -> None:
        """Put the topology that was heard last in force."""
        while (table := self._heard) is not None and not (self.view and self.view.table.says_as(table)):
            async with self._building:
                view = await asyncio.to_thread(ClusterView, table, self.name)
            held = await self._lease(table, view)
            if self._heard is None or not table.says_as(self._heard):
                if held is not None:
                    held[0].leases.end(held[1])
                continue
            self.view = view
            self._hold(held)
            log.info("serves clients by topology %d: %d nodes", table.epoch, len(table.nodes))
        if self.view is not None and self._heard is not None and self.view.table.epoch != self._heard.epoch:
            self.view = self.view.at(self._heard.epoch)

    async def _lease(self, table: NodeTable, view: ClusterView) -> tuple[Version, Lease] | None:
        """Lease what this shard owns by a topology, which its router has leased here before."""
        version = self._versions.held(table.dataset_id)
        if version is None or version.about.partitions != table.partitions:
            return None
        lease = await version.leases.grant(view.slot_map.owned_by(self.name))
        return version, lease

    def _hold(self, held: tuple[Version, Lease] | None) -> None:
        before, self._held = self._held, held
        self._versions.serve(held[0] if held else None)
        if before is not None:
            before[0].leases.end(before[1])
            self._versions.tidy()

    def _expire(self) -> None:
        self._timer = None
        log.warning("no router has been here for %.0f s: clients that come directly are served no more", self._grace)
        self.view = self._heard = None
        self._hold(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
