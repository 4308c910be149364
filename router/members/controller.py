"""Keeps the topology true: which shards are alive, and one ring after the other that all of them lease.

    discovery ──► members (who answers where) ──► membership ──► leases on all of them ──► swap ──► old links drain

Make before break: the old topology serves until the next one is leased on every shard of it.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ringkv.cluster.errors import ClusterError, LeaseRefused
from ringkv.cluster.lease import Leased, LeaseRequest
from ringkv.cluster.ring import build_ring, moved_partitions
from ringkv.process.address import Address
from ringkv.process.words import counted
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.absences import Absences
from ringkv.router.members.discovery import Discovery, Lookout
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.members.flapping import FlapGuard
from ringkv.router.members.member import TROUBLE, Member, open_link, problem_of
from ringkv.router.members.membership import Candidate, Membership, choose
from ringkv.router.policy import DISCOVERY_INTERVAL, FIRST_SETTLE, JOIN_SETTLE, JOIN_SETTLE_MAX, RECONNECT_MIN

log = logging.getLogger("ringkv.router")


@dataclass(frozen=True, slots=True)
class _Serving:
    """A shard of the current topology: which process it is, and since when it takes part."""

    run_id: str
    since: float


class Controller:
    """`members` are all known addresses; `kept_out` those that must not take part, with the reason.

    `events` is where it tells what happens.
    """

    def __init__(
        self, discovery: Discovery, replicas: int, secret: str | None, lookups: Lookups, events: EventLog
    ) -> None:
        self.members: dict[Address, Member] = {}
        self.kept_out: dict[Address, str] = {}
        self._discovery = discovery
        self._replicas = replicas
        self._secret = secret
        self._lookups = lookups
        self.events = events
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._watching: dict[Address, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._flapping = FlapGuard(self._clock)
        self._absences = Absences(self._clock, events)
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
        lookout = Lookout(self._discovery)
        while True:
            found = await lookout.look(frozenset(self.members))
            for address in found - self.members.keys():
                member = Member(address, self._secret, self._changed.set, self.events)
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
            self._absences.look(self._serving.keys())
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
        """Close the links to shards that ended without draining, so that their requests go to other owners."""
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
            self._absences.lost(name, self._flapping.lost(name, self._clock() - serving.since))

    def _membership(self) -> Membership:
        topology = self._lookups.topology
        served = topology.dataset_id if topology else None
        serving = {name: shard.run_id for name, shard in self._serving.items()}
        membership = choose(self._candidates(), served, serving, self._flapping.held())
        for address, reason in membership.kept_out.items():
            if self.kept_out.get(address) != reason:
                log.warning("shard at %s is kept out: %s", address, reason)
                name = self.members[address].name
                self.events.note(Kind.REFUSAL, f"{name} at {address} is kept out: {reason}", name)
        self.kept_out = membership.kept_out
        now = self._clock()
        self._arrived = {name: self._arrived.get(name, now) for name in membership.names - serving.keys()}
        return membership

    def _pause(self, membership: Membership) -> float:
        """How many seconds to wait for more changes before the topology is changed; 0: change it now."""
        topology = self._lookups.topology
        if not membership.shards:
            return DISCOVERY_INTERVAL
        if topology is None:
            if all(member.identity for member in self.members.values()) and not self._discovery.names:
                return 0
            return min(self._settled(), self._started + FIRST_SETTLE) - self._clock()
        # A shard that is gone or leaving is replaced at once. One that joins may be the first of several.
        if self._serving.keys() != topology.links.keys() or self._serving.keys() - membership.names:
            return 0
        return self._settled() - self._clock() if self._arrived else DISCOVERY_INTERVAL

    def _settled(self) -> float:
        """The time from which on no more shards are expected to join together with those that have arrived."""
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
            # Computed after the swap, for which requests may have waited.
            change = await asyncio.to_thread(_describe_change, topology)
            log.info("topology %d in %.0f ms: %s", topology.epoch, took, change)
            self.events.note(Kind.SWAP, f"epoch {topology.epoch} after {took:.0f} ms: {change}")
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
            # A group: when one lease fails, the others are cancelled, and no lease comes about afterwards.
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
        except TROUBLE as error:
            self._flapping.lost(name, uptime=0)
            problem = f"{name} at {candidate.address} gave no lease: {problem_of(error)}"
            self.events.note(Kind.REFUSAL, problem, name)
            raise LeaseRefused(f"shard {problem}") from error
        self._leased[links[name]] = candidate.identity.run_id
        links[name].closed.add_done_callback(partial(self._closed, links[name]))
        return leased

    def _closed(self, link: Link, _future: asyncio.Future[None]) -> None:
        del self._leased[link]
        self._changed.set()

    def _swap(self, topology: Topology, membership: Membership) -> None:
        before = self._lookups.topology
        now = self._clock()
        self._absences.swapped(self._serving.keys(), membership.names)
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
    shards = f"{counted(len(ring.names), 'shard')}, {counted(topology.dataset.keys, 'key')}, ring {ring.ring_id[:8]}"
    if topology.before is None:
        return f"dataset {topology.dataset_id}, {shards}"
    moved, least = moved_partitions(topology.before, ring)
    return f"{shards}, {counted(moved, 'partition')} change owner, at least {least:,} have to"
