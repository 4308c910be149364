"""The versions of the data that a shard holds: those that it offers, and those whose last leases have not ended.

    opened ──offer──► offered, the newest first ──others are offered──► held for its leases ──the last ends──► closed

A router leases the next version while it serves the one before: so two are offered, and what else routers serve. Each
connection reads one version: that of its lease; without a lease the one that routers say they serve (`shard.node`), or
else the newest.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from ringkv.cluster.lease import Offered
from ringkv.dataset.dataset import Dataset
from ringkv.shard.heard import Heard
from ringkv.shard.leases import Lease
from ringkv.shard.version import Version

log = logging.getLogger("ringkv.shard")


class Reader(Protocol):
    """A connection, as far as versions have to know it."""

    lease: Lease | None
    version: Version

    def go_over(self, version: Version) -> None:
        """Read this version from now on."""

    def finish(self) -> None:
        """Begin no other request, and close when those that were begun are answered and sent."""


class Versions:
    """`offered` has the newest first, and is empty only before the first; `revision` counts its changes.

    `alone`: no router has leased anything yet, so all partitions of the newest version are leased.
    `heard` is what routers say that they serve, `served` the version of the map for direct clients.
    `behind`: the version that the catalog names cannot be served, or the catalog cannot be read.
    `damaged`: datasets that were overwritten and are not opened again, by path; mirrors are, as their origin is whole.
    `failed` is a future that raises when nothing is left that could be served.
    """

    def __init__(self, changed: Callable[[], None], *, alone: bool) -> None:
        """`changed` is called when the current version has become another dataset."""
        self.alone = alone
        self.offered: tuple[Version, ...] = ()
        self.revision = 0
        self.behind = False
        self.readers: set[Reader] = set()
        self.damaged: set[Path] = set()
        self.heard = Heard()
        self.served: Version | None = None
        self._read: Version | None = None  # what was current at the last change
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = changed
        self._held: set[Version] = set()
        self._coming: list[Version] = []
        self._told: tuple[Offered, ...] = ()
        self._offering = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def newest(self) -> Version:
        return self.offered[0]

    @property
    def current(self) -> Version:
        """The version that connections without a lease read: the one that routers serve, if known, else the newest."""
        return self.newest if self.served is None or self.served.lost else self.served

    @property
    def told(self) -> Version:
        """The version whose checked bytes a heartbeat tells: the newest that has leases."""
        return next((version for version in self.offered if version.leases), self.newest)

    @property
    def leases(self) -> int:
        return sum(len(version.leases) for version in self._held)

    def find(self, dataset: str) -> Version | None:
        """The version of this dataset, if it is offered."""
        return next((version for version in self.offered if version.about.dataset_id == dataset), None)

    def held(self, dataset: str) -> Version | None:
        """The version of this dataset, even if it is only held for its leases, but not if it is lost."""
        same = (version for version in self._held if version.about.dataset_id == dataset and not version.lost)
        return next(same, None)

    async def offer(self, *versions: Version) -> None:
        """Offer these versions in place of the others, the newest first. A shard alone leases all of it before."""
        self._coming += versions  # so that none of them is closed meanwhile
        try:
            async with self._offering:
                for version in versions:
                    if version not in self._held:
                        self._held.add(version)
                        version.live(self._ended)
                await self._replace(*(version for version in versions if not version.lost))
        finally:
            for version in versions:
                self._coming.remove(version)
            self.tidy()

    async def go_over(self, version: Version, dataset: Dataset) -> None:
        """Let a version that is held be read from this copy of its dataset, whoever has leased it.

        Raises PartitionNotLeased if it has been closed, or lost, meanwhile.
        """
        self._coming.append(version)  # so that it is not closed meanwhile
        try:
            closing = await version.go_over(dataset)
            self._begin(closing)
            for reader in self.readers:
                if reader.version is version:
                    reader.go_over(version)
        finally:
            self._coming.remove(version)
            self.tidy()

    def other(self, version: Version, partition: Callable[[Version], int]) -> Version | None:
        """The newest other version that has a partition leased; `partition` gives its number in each version."""
        held = sorted(self._held - {version}, key=lambda each: -each.about.serial)
        leased = (each for each in held if not each.lost and each.store.blocks.is_leased(partition(each)))
        return next(leased, None)

    def serve(self, version: Version | None) -> None:
        """Let connections without a lease read this version; None: the newest."""
        self.served = version
        self._go_over()

    def joined(self, version: Version) -> None:
        """A router has a lease of this version: let go of what was leased without one."""
        for reader in self.readers:  # some of its values may be large now
            if reader.version is version:
                reader.go_over(version)
        self.alone = False
        self.tidy()

    def tidy(self) -> None:
        """End leases of everything that are not needed, and close versions that are neither offered nor leased."""
        for version in list(self._held):
            wanted = version in self._coming
            if version.everything is not None and not (self.alone and (wanted or version in self.offered[:1])):
                version.leases.end(version.everything)
                version.everything = None
            if not (wanted or version.leases.are_needed or version in self.offered):
                self._held.remove(version)
                self._begin(version.close())

    def ended(self, life: asyncio.Task[None]) -> None:
        """Fail with the error of a task without which nothing can be served."""
        if not life.cancelled() and (error := life.exception()) is not None:
            self._fail(error)

    async def close(self) -> None:
        """Close all versions, whatever is leased."""
        for task in list(self._tasks):
            await asyncio.wait([task])
        held, self._held = self._held, set()
        await asyncio.gather(*(version.close() for version in held))

    async def _replace(self, newest: Version | None = None, *others: Version) -> None:
        if newest is None:
            return
        if self.alone and newest.everything is None:
            newest.everything = await newest.leases.grant(range(newest.about.partitions))
        self.offered = (newest, *others)
        told = tuple(version.about for version in self.offered)
        if told != self._told:
            self._told = told
            self.revision += 1
        self._go_over()

    def _go_over(self) -> None:
        """Let connections without a lease read the current version, if that is another one now."""
        before, current = self._read, self.current
        if current is before:
            return
        self._read = current
        for reader in self.readers:
            if reader.lease is None:
                reader.go_over(current)
        if before is not None and before.about.dataset_id != current.about.dataset_id:
            self._changed()

    def _ended(self, version: Version, error: BaseException) -> None:
        """Called with the reason why a version cannot be served any more."""
        rest = [other for other in self.offered if not other.lost]
        if not version.lost or not rest:
            self._fail(error)
            return
        log.error("version %d is served no more: %s", version.about.serial, error)
        if version.dataset.origin is None:
            self.damaged.add(version.dataset.path)
        for reader in list(self.readers):
            if reader.lease is not None and reader.version is version:
                reader.finish()
        self._begin(self.offer(*rest)).add_done_callback(self.ended)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # retrieved, as asyncio logs exceptions that nobody retrieves

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
