"""Leases a ring on all of its shards, each over a link of its own: a topology comes of it, or nothing at all."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from functools import partial

from ringkv.cluster.errors import LeaseRefused, NotOffered, PeerError, RingkvError
from ringkv.cluster.hot import NO_EXTRA, Extra
from ringkv.cluster.lease import Leased, LeaseRequest, Offered, refusal
from ringkv.cluster.ring import build_ring
from ringkv.router.lookup.durations import Durations
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.member import TROUBLE, Opening, problem_of
from ringkv.router.members.membership import Candidate, Membership
from ringkv.router.policy import LEASE_PATIENCE, LEASE_PATIENCE_SHARD

Noted = Callable[[Offered, str, str | None], None]
"""Called with a version, a shard's name, and what that has yet to do for the version; None once it has leased it."""


class Leasing:
    """`links` are those that hold a lease, of all topologies that are not closed yet, with the run ids of the shards.

    `refused` is called with the name of a shard that gave no lease, and why; `closed` is called when a link has ended.
    """

    def __init__(
        self,
        opening: Opening,
        durations: defaultdict[str, Durations],
        noted: Noted,
        refused: Callable[[str, str], None],
        closed: Callable[[], None],
    ) -> None:
        self.links: dict[Link, str] = {}
        self._opening = opening
        self._durations = durations
        self._noted = noted
        self._refused = refused
        self._on_closed = closed

    async def form(
        self, membership: Membership, replicas: int, now: Topology | None, zone: str, extra: Extra = NO_EXTRA
    ) -> Topology:
        """Lease the ring that follows `now` on all of its shards; those in this zone are to be asked first.

        Raises LeaseRefused, or NotOffered if the shard has to be asked what it offers; all leases are given back then.
        """
        version = membership.version
        if version is None:
            raise NotOffered("no shard offers a dataset")
        inputs = membership.names, replicas, version.partitions, membership.places, extra.counts
        ring = await asyncio.to_thread(build_ring, *inputs)
        request = LeaseRequest(version.dataset_id, ring.ring_id, replicas, ring.names, ring.places, extra)
        links: dict[str, Link] = {}
        leases: dict[str, asyncio.Task[Leased]] = {}
        patience = LEASE_PATIENCE + LEASE_PATIENCE_SHARD * len(membership.shards)
        try:
            # A group: when one lease fails, the others are cancelled, and no lease comes about afterwards.
            async with asyncio.timeout(patience), asyncio.TaskGroup() as tasks:
                leases = {
                    name: tasks.create_task(self._lease(name, shard, version, request, links))
                    for name, shard in membership.shards.items()
                }
            leased = {name: lease.result() for name, lease in leases.items()}
            epoch = now.epoch + 1 if now else 1
            before = now.ring if now and now.dataset_id == request.dataset_id else None
            return await asyncio.to_thread(Topology.build, epoch, request.dataset_id, ring, links, leased, before, zone)
        except BaseException as error:
            for link in links.values():
                link.close()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            if isinstance(error, TimeoutError):
                late = [name for name, lease in leases.items() if lease.cancelled()]
                refusals = [self._none_given(name, membership.shards[name], version, error) for name in late]
                raise next(iter(refusals), LeaseRefused("the last shard gave its lease too late")) from None
            raise

    def let_go(self, topologies: Iterable[Topology], leaving: Container[str]) -> None:
        """Give the leases of these topologies back to shards that leave, by run id: such a one waits for them."""
        for topology in topologies:
            for link in topology.links.values():
                if self.links.get(link) in leaving:
                    link.retire()

    async def _lease(
        self, name: str, shard: Candidate, version: Offered, request: LeaseRequest, links: dict[str, Link]
    ) -> Leased:
        """Lease the ring on one shard."""
        self._noted(version, name, "has not leased it yet")
        try:
            links[name] = link = await self._opening.link(shard.address, self._durations[name])
            link.pulse = shard.pulse or link.pulse
            leased = Leased.parse(await link.call(*request.command()))
        except TROUBLE as error:
            raise self._none_given(name, shard, version, error) from error
        self._noted(version, name, None)
        self.links[link] = shard.identity.run_id
        link.closed.add_done_callback(partial(self._closed, link))
        return leased

    def _none_given(self, name: str, shard: Candidate, version: Offered, error: BaseException) -> RingkvError:
        """Note that a shard gave no lease, for this reason; returns the error to raise."""
        problem = f"{name} at {shard.address} gave no lease: {problem_of(error)}"
        self._noted(version, name, f"gave no lease: {problem_of(error)}")
        if isinstance(error, PeerError) and isinstance(refusal(str(error)), NotOffered):
            return NotOffered(f"shard {problem}")
        self._refused(name, problem)
        return LeaseRefused(f"shard {problem}")

    def _closed(self, link: Link, _future: asyncio.Future[None]) -> None:
        del self.links[link]
        self._on_closed()
