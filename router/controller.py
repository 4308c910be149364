"""Keeps the topology true: which shards are alive, and one ring after the other that all of them lease.

    discovery ──► members (who answers where) ──► membership ──► leases on all of them ──► swap ──► old links drain

Make before break: the old topology serves until the next one is leased on every shard of it.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from cluster.address import Address
from cluster.errors import ClusterError, LeaseRefused
from cluster.lease import Leased, LeaseRequest
from cluster.ring import build_ring, moved_partitions
from router.discovery import Discovery
from router.flapping import FlapGuard
from router.link import Link
from router.lookup import Lookups
from router.member import TROUBLE, Member, open_link
from router.membership import Candidate, Membership, choose
from router.policy import DISCOVERY_INTERVAL, FIRST_SETTLE, JOIN_SETTLE, JOIN_SETTLE_MAX, RECONNECT_MIN
from router.topology import Topology

log = logging.getLogger("ringkv.router")


@dataclass(frozen=True, slots=True)
class _Serving:
    """A shard of the current topology: which process it is, and since when it takes part."""

    run_id: str
    since: float


class Controller:
    """`members` are all known addresses; `kept_out` those that must not take part, with the reason."""

    def __init__(self, discovery: Discovery, replicas: int, secret: str | None, lookups: Lookups) -> None:
        self.members: dict[Address, Member] = {}
        self.kept_out: dict[Address, str] = {}
        self._discovery = discovery
        self._replicas = replicas
        self._secret = secret
        self._lookups = lookups
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._watching: dict[Address, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._flapping = FlapGuard(self._clock)
        self._serving: dict[str, _Serving] = {}
        self._leased: dict[Link, str] = {}  # run ids by link, also of topologies that are still draining
        self._arrived: dict[str, float] = {}  # when those that do not serve yet were first seen

    async def run(self) -> None:
        """Discover and reconcile until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._discover(tasks))
                tasks.create_task(self._reconcile())
        finally:
            if self._lookups.topology is not None:
                self._lookups.topology.retire()

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            found = await self._discovery.look(frozenset(self.members))
            for address in found - self.members.keys():
                member = Member(address, self._secret, self._changed.set)
                self.members[address] = member
                self._watching[address] = tasks.create_task(member.watch())
            for address in self.members.keys() - found:
                # A shard that is no longer resolved may still serve: it goes when it stops answering.
                if self.members[address].identity is None:
                    del self.members[address]
                    self._watching.pop(address).cancel()
            await asyncio.sleep(DISCOVERY_INTERVAL)

    async def _reconcile(self) -> None:
        while True:
            self._changed.clear()
            self._note_losses()
            membership = self._membership()
            pause = self._pause(membership)
            if pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
            else:
                await self._change(membership)

    def _candidates(self) -> list[Candidate]:
        return [candidate for member in self.members.values() if (candidate := member.candidate)]

    def _note_losses(self) -> None:
        """Let go of the shards that went without a word, so that their requests go elsewhere."""
        alive = {candidate.identity.run_id for candidate in self._candidates()}
        for link, run_id in list(self._leased.items()):
            if run_id not in alive:
                link.close()
        links = self._lookups.topology.links if self._lookups.topology else {}
        for name, serving in list(self._serving.items()):
            if links[name].open and serving.run_id in alive:
                continue
            del self._serving[name]
            for member in self.members.values():
                if member.identity and member.identity.run_id == serving.run_id:
                    member.doubt()
            hold = self._flapping.lost(name, self._clock() - serving.since)
            log.warning("shard %s is lost%s", name, f"; kept out for {hold:.0f} s" if hold else "")

    def _membership(self) -> Membership:
        topology = self._lookups.topology
        served = topology.dataset_id if topology else None
        serving = {name: shard.run_id for name, shard in self._serving.items()}
        membership = choose(self._candidates(), served, serving, self._flapping.held())
        for address, reason in membership.kept_out.items():
            if self.kept_out.get(address) != reason:
                log.warning("shard at %s is kept out: %s", address, reason)
        self.kept_out = membership.kept_out
        now = self._clock()
        self._arrived = {name: self._arrived.get(name, now) for name in membership.names - serving.keys()}
        return membership

    def _pause(self, membership: Membership) -> float:
        """The seconds for which to watch on before the topology is changed, 0 for now."""
        topology = self._lookups.topology
        if not membership.shards:
            return DISCOVERY_INTERVAL
        if topology is None:
            if all(member.identity for member in self.members.values()) and not self._discovery.names:
                return 0
            return min(self._settled(), self._started + FIRST_SETTLE) - self._clock()
        # Who is gone, or leaves, is replaced at once; who comes may not be alone.
        if self._serving.keys() != topology.links.keys() or self._serving.keys() - membership.names:
            return 0
        return self._settled() - self._clock() if self._arrived else DISCOVERY_INTERVAL

    def _settled(self) -> float:
        """When those that arrive together have arrived."""
        arrived = self._arrived.values()
        return min(max(arrived) + JOIN_SETTLE, min(arrived) + JOIN_SETTLE_MAX)

    async def _change(self, membership: Membership) -> None:
        """Form the next topology; give up as soon as one of its shards is lost."""
        started = self._clock()
        forming = asyncio.create_task(self._form(membership))
        try:
            await self._watch_over(forming, membership)
        finally:
            forming.cancel()
            await asyncio.wait([forming])
        if forming.cancelled():
            return
        error = forming.exception()
        if error is None:
            topology = forming.result()
            self._swap(topology, membership)
            took = 1000 * (self._clock() - started)
            # Only now: requests may have waited for the swap.
            change = await asyncio.to_thread(_describe_change, topology)
            log.info("topology %d in %.0f ms: %s", topology.epoch, took, change)
        elif isinstance(error, ClusterError):
            log.warning("no new topology: %s", error)
            await asyncio.sleep(RECONNECT_MIN)
        else:
            raise error

    async def _watch_over(self, forming: asyncio.Task[Topology], membership: Membership) -> None:
        """Wait until the next topology is formed or cannot be any more."""
        while not forming.done() and set(membership.shards.values()) <= set(self._candidates()):
            self._changed.clear()
            waiting = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait([forming, waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            self._note_losses()

    async def _form(self, membership: Membership) -> Topology:
        """Lease the next ring on all of its shards. Raises ClusterError, with every lease given back."""
        now = self._lookups.topology
        names, partitions = membership.names, membership.partitions
        ring = await asyncio.to_thread(build_ring, names, self._replicas, partitions)
        request = LeaseRequest(membership.dataset_id, ring.ring_id, self._replicas, ring.names)
        links: dict[str, Link] = {}
        try:
            # A group, so that when one lease fails none of the others can still be taken.
            async with asyncio.TaskGroup() as tasks:
                leases = {
                    candidate.identity.name: tasks.create_task(self._lease(candidate, request, links))
                    for candidate in membership.shards.values()
                }
            leased = {name: lease.result() for name, lease in leases.items()}
            epoch = now.epoch + 1 if now else 1
            before = now.ring if now and now.dataset_id == request.dataset_id else None
            topology = await asyncio.to_thread(Topology.build, epoch, request.dataset_id, ring, links, leased, before)
        except BaseException as error:
            for link in links.values():
                link.close()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return topology

    async def _lease(self, candidate: Candidate, request: LeaseRequest, links: dict[str, Link]) -> Leased:
        """Lease the ring on one shard, over a link of its own."""
        name = candidate.identity.name
        try:
            links[name] = await open_link(candidate.address, self._secret, self._lookups.shard_durations[name])
            leased = Leased.parse(await links[name].call(*request.command()))
        except (*TROUBLE, ValueError) as error:
            self._flapping.lost(name, uptime=0)
            raise LeaseRefused(f"shard {name} at {candidate.address} gave no lease: {error}") from error
        self._leased[links[name]] = candidate.identity.run_id
        links[name].closed.add_done_callback(partial(self._closed, links[name]))
        return leased

    def _closed(self, link: Link, _future: asyncio.Future[None]) -> None:
        del self._leased[link]
        self._changed.set()

    def _swap(self, topology: Topology, membership: Membership) -> None:
        before = self._lookups.topology
        now = self._clock()
        self._serving = {
            name: self._serving.get(name) or _Serving(candidate.identity.run_id, now)
            for name, candidate in membership.shards.items()
        }
        self._lookups.swap(topology)
        if before is not None:
            before.retire()
        self._changed.set()


def _describe_change(topology: Topology) -> str:
    ring = topology.ring
    keys = sum(shard.keys for shard in topology.leased.values())
    shards = f"{len(ring.names)} shards, {keys} keys, ring {ring.ring_id[:8]}"
    if topology.before is None:
        return f"dataset {topology.dataset_id}, {shards}"
    moved, least = moved_partitions(topology.before, ring)
    return f"{shards}, {moved} partitions change owner, at least {least} have to"
