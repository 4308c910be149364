"""Keeps the topology true: which shards are alive, which version they serve, and one ring after the other.

    discovery ──► members (who answers where) ──► membership ──► leases on all of them ──► swap ──► old links drain
                                                         └─ of another version ─► gate ─► warmth ─┘

Make before break: the old topology serves until the next one is leased on every shard of it. A swap to another version
is such a change as well; its topology before stays leased for a while, for what was begun with it, and is leased anew
where one of its shards is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ringkv.cluster.errors import ClusterError, NotOffered, SwapRefused
from ringkv.process.address import Address
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.absences import Absences
from ringkv.router.members.arrivals import Arrivals
from ringkv.router.members.discovery import Lookout
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.members.flapping import FlapGuard, Refusals
from ringkv.router.members.gate import Gate
from ringkv.router.members.leasing import Leasing
from ringkv.router.members.member import Member, Opening
from ringkv.router.members.membership import Candidate, Membership, Serving, choose, choose_again
from ringkv.router.members.owners import ExtraOwners
from ringkv.router.members.renewal import Renewal
from ringkv.router.members.telling import Teller
from ringkv.router.members.versions import Versions
from ringkv.router.members.warmth import warmed
from ringkv.router.policy import DISCOVERY_INTERVAL, FIRST_SETTLE, RECONNECT_MIN
from ringkv.router.settings import Cluster

log = logging.getLogger("ringkv.router")


class Controller:
    """`members` are all known addresses; `kept_out` those that must not take part, with the reason.

    `versions` is what is known of the versions of the data, `events` takes what happens, `teller` tells shards the
    topology.
    """

    def __init__(self, cluster: Cluster, lookups: Lookups, events: EventLog) -> None:
        """Raises StartupError."""
        self.members: dict[Address, Member] = {}
        self.kept_out: dict[Address, str] = {}
        self.cluster = cluster
        self._opening = Opening(cluster.secret, cluster.tls.context() if cluster.tls else None)
        self._lookups = lookups
        self.events = events
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._watching: dict[Address, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._flapping = FlapGuard(self._clock)
        self._refusals = Refusals()
        self._absences = Absences(self._clock, events)
        self.versions = Versions(self._clock, events)
        self.teller = Teller()
        self._renewal = Renewal(lookups.kept)
        self._gate = Gate(cluster.gate, lookups.sample, self.versions)
        self._leasing = Leasing(
            self._opening, lookups.shard_durations, self.versions.leasing, self._refused, self._changed.set
        )
        self._serving: dict[str, Serving] = {}
        self._arrived = Arrivals(self._clock)
        self._owners = ExtraOwners(cluster.hot_owners, self._clock)

    async def run(self) -> None:
        """Discover and reconcile until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._discover(tasks))
                tasks.create_task(self._reconcile())
        finally:
            self._lookups.kept.let_all_go()
            if self._lookups.topology is not None:
                self._lookups.topology.retire()

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        lookout = Lookout(self.cluster.shards, self._opening.names)
        while True:
            found = await lookout.look(frozenset(self.members))
            for address in found - self.members.keys():
                member = Member(address, self._opening, self._changed.set, self.events, self._lookups.serves)
                self.members[address] = member
                self._watching[address] = tasks.create_task(member.watch())
            for address in self.members.keys() - found:
                # A shard whose address is not resolved any more may still serve: it goes when it stops answering.
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
            self._owners.follow(self._lookups.topology, self.members.values())
            pause = self._pause(membership)
            if pause > 0 and (due := self._renewal.due(membership)):
                await self._renew(*due)
            elif pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
            else:
                await self._change(membership.leasable)

    def _candidates(self) -> list[Candidate]:
        return [candidate for member in self.members.values() if (candidate := member.candidate)]

    def _note_losses(self) -> None:
        """Close the links to shards that ended without draining, so that their requests go to other owners."""
        candidates = self._candidates()
        # A shard may be reached at another address still: a pulse is that of one.
        alive = {(candidate.identity.run_id, candidate.pulse) for candidate in candidates}
        ended = {link for link, run_id in self._leasing.links.items() if (run_id, link.pulse) not in alive}
        for link in ended:
            link.close()
        leaving = {candidate.identity.run_id for candidate in candidates if candidate.draining}
        self._leasing.let_go((topology for topology, _ in self._lookups.kept), leaving)
        links = self._lookups.topology.links if self._lookups.topology else {}
        for name, serving in list(self._serving.items()):
            if links[name].open and links[name] not in ended:
                continue
            del self._serving[name]
            for member in self.members.values():
                if member.identity and member.identity.run_id == serving.run_id:
                    member.doubt()
            self._absences.lost(name, self._flapping.lost(name, self._clock() - serving.since))

    def _membership(self) -> Membership:
        topology, versions = self._lookups.topology, self.versions
        serving = {name: shard.run_id for name, shard in self._serving.items()}
        held = self._flapping.held()
        membership = choose(self._candidates(), versions.version, serving, held, versions.refused.keys())
        if topology is not None and self._serving.keys() != topology.links.keys():
            # A part of what is served is lost. It is leased anew before any swap, which may take seconds: those who ask
            # for it would have to wait for the gate. If it cannot be, go on with whatever is offered.
            if again := choose_again(self._candidates(), versions.version, serving, held):
                membership = again
            elif not membership.leasable.shards:
                membership = choose(self._candidates(), None, {}, held, versions.refused.keys())
        versions.look(membership)
        if topology is not None and membership.version and membership.version.dataset_id == topology.dataset_id:
            versions.serve(membership.version)
        for address, reason in membership.kept_out.items():
            if self.kept_out.get(address) != reason:
                log.warning("shard at %s is kept out: %s", address, reason)
                name = self.members[address].name
                self.events.note(Kind.REFUSAL, f"{name} at {address} is kept out: {reason}", name)
        self.kept_out = membership.kept_out
        self._arrived.look(membership.names - serving.keys())
        return membership

    def _pause(self, membership: Membership) -> float:
        """How many seconds to wait for more changes before the topology is changed; 0: change it now."""
        topology = self._lookups.topology
        if membership.version is None or not membership.leasable.shards:
            return DISCOVERY_INTERVAL
        if topology is None:
            if all(member.identity for member in self.members.values()) and not self.cluster.shards.names:
                return 0
            return min(self._arrived.settled(), self._started + FIRST_SETTLE) - self._clock()
        complete = membership.leasable.names == membership.names
        # A shard that is gone or leaving is replaced at once, as is another version, or hot partitions' owners.
        if (
            self._serving.keys() != topology.links.keys()
            or self._serving.keys() - membership.names
            or membership.version.dataset_id != topology.dataset_id
            or (complete and not self._arrived and topology.ring.extra != self._owners.extra.counts)
        ):
            return 0
        # One that joins may be the first of several, and those that serve must not be left out for its sake.
        return self._arrived.settled() - self._clock() if complete and self._arrived else DISCOVERY_INTERVAL

    async def _change(self, membership: Membership) -> None:
        """Form the next topology; give up as soon as one of its shards is lost."""
        started = self._clock()
        topology = await self._formed(self._form(membership), lambda: self._is_wanted(membership))
        if topology is not None:
            self._swap(topology, membership)
            took = 1000 * (self._clock() - started)
            # Described only after the swap, as requests may have waited for that.
            change = await asyncio.to_thread(topology.describe)
            log.info("topology %d in %.0f ms: %s", topology.epoch, took, change)
            self.events.note(Kind.SWAP, f"epoch {topology.epoch} after {took:.0f} ms: {change}")
            for account in self._owners.account(topology.before, topology.ring):
                log.info("%s", account)
                self.events.note(Kind.HOT, account)

    async def _renew(self, before: Topology, membership: Membership) -> None:
        """Form a kept topology anew, of these shards; not now, if what is served has to be changed meanwhile."""

        def stands() -> bool:
            return membership.stands(self._candidates()) and self._pause(self._membership()) > 0

        forming = self._leasing.form(membership, self.cluster.replicas, before, self.cluster.zone)
        topology = await self._formed(forming, stands)
        if topology is not None:
            self._lookups.renew(topology)
        elif not stands():
            self._renewal.put_off(before)

    def _is_wanted(self, membership: Membership) -> bool:
        """Whether it can still be leased, and what is served was not rolled back to meanwhile, nor has to be mended."""
        now, version = self._lookups.topology, membership.version
        if not membership.stands(self._candidates()):
            return False
        if now is None or version is None or version.dataset_id == now.dataset_id:
            return True
        wanted = self._membership().version
        return wanted is None or wanted.dataset_id != now.dataset_id

    async def _formed(self, form: Coroutine[Any, Any, Topology], stands: Callable[[], bool]) -> Topology | None:
        """The topology that is formed; None if that does not stand, a shard gave no lease, or the gate refuses it."""
        forming = asyncio.create_task(form)
        try:
            await self._watch_over(forming, stands)
        finally:
            forming.cancel()
            await asyncio.wait([forming])
        if forming.cancelled():
            return None
        error = forming.exception()
        if error is None:
            self._refusals.end()
            return forming.result()
        if isinstance(error, SwapRefused):
            self._lookups.counters.gated += 1
        elif isinstance(error, ClusterError):
            # The shard tells what it offers now with its next heartbeat.
            level = logging.INFO if isinstance(error, NotOffered) else logging.WARNING
            log.log(level, "no new topology: %s", error)
            await asyncio.sleep(RECONNECT_MIN if isinstance(error, NotOffered) else self._refusals.pause())
        else:
            raise error
        return None

    async def _watch_over(self, forming: asyncio.Task[Topology], stands: Callable[[], bool]) -> None:
        """Wait until the next topology is formed or is not to be any more."""
        while not forming.done() and stands():
            self._changed.clear()
            waiting = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait([forming, waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            self._note_losses()

    async def _form(self, membership: Membership) -> Topology:
        """Lease the next ring; of another version, have the gate look at it, and shards read ahead.

        Raises ClusterError, with every lease given back.
        """
        now = self._lookups.topology
        extra = self._owners.of(membership.version)
        topology = await self._leasing.form(membership, self.cluster.replicas, now, self.cluster.zone, extra)
        if now is not None and now.dataset_id != topology.dataset_id:
            try:
                await self._gate.pass_on(membership.version, now, topology)
                await warmed(topology, membership, self.members.values())
            except BaseException:
                for link in topology.links.values():
                    link.close()
                raise
        return topology

    def _refused(self, name: str, problem: str) -> None:
        self._flapping.lost(name, uptime=0)
        if self._refusals.is_new(name, problem):
            self.events.note(Kind.REFUSAL, problem, name)

    def _swap(self, topology: Topology, membership: Membership) -> None:
        now = self._clock()
        self._absences.swapped(self._serving.keys(), membership.names)
        self._serving = {
            name: self._serving.get(name) or Serving(candidate.identity.run_id, now)
            for name, candidate in membership.shards.items()
        }
        nodes = [candidate.identity.node for candidate in membership.shards.values()]
        self.teller.tell(topology, nodes, self._leasing.links)
        self._lookups.swap(topology)
        if membership.version is not None:
            self.versions.serve(membership.version)
        self._changed.set()
