"""Follows a catalog: what its current.json says is offered, and the version before it, within about a second.

look ──► as it was ──────────────────────────────────────► look again, a second later
  │ └──► another version ──► open it and the one before ──► offer both
  │ └──► routers serve one of older days ──► open it too ──► offer all three
  └──► cannot be read, or what it says cannot be opened ──► said once; what is offered stays, and it is tried again

Routers stay with what they serve if their gates refuse what is newer: so a shard that starts must offer that too.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from math import inf
from typing import Final

import ringkv.dataset.catalog as catalogs
from ringkv.cluster.errors import CatalogError, DatasetError, InvalidDataset, StoreError
from ringkv.cluster.lease import Offered
from ringkv.dataset.catalog import Catalog, Current
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.mirror import Mirror, go_over
from ringkv.dataset.remembered import Remembered
from ringkv.shard.threads import to_end
from ringkv.shard.version import Version
from ringkv.shard.versions import Versions
from ringkv.shard.warmup import Pace

log = logging.getLogger("ringkv.shard")

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at the catalog: at one small object of a store, or one small file."""

RETRY_MIN: Final = 1.0
RETRY_MAX: Final = 30.0
"""Seconds until what could not be opened is tried again. They double, as each attempt may fetch tables from a store."""


class Following:
    """`begun` is done when something is offered for the first time."""

    def __init__(
        self,
        catalog: Catalog,
        versions: Versions,
        pace: Pace,
        remembered: Remembered | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        """`remembered` is for catalogs that may not be reachable at the next start, `mirror` for datasets in stores."""
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._catalog = catalog
        self._versions = versions
        self._pace = pace
        self._remembered = remembered
        self._mirror = mirror
        self._asked = asyncio.Event()
        self._seen: Current | None = None
        self._wanted: list[catalogs.Version] = []  # to be offered, by what was seen last
        self._missing: set[catalogs.Version] = set()  # of these, the older ones that could not be opened
        self._offered: catalogs.Version | None = None  # the newest, of which the log has told
        self._problem = ""  # with what was seen
        self._told = ""
        self._retry_at = inf
        self._pause = RETRY_MIN

    def look_now(self) -> None:
        """Look at once, and try again at once what could not be opened."""
        self._retry_at = 0.0
        self._asked.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._asked.clear()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()

    async def _look(self) -> None:
        try:
            current = await self._current()
        except (CatalogError, StoreError) as error:
            self._tell(str(error))
            return
        if current is None:
            self._tell(f"{self._catalog.location}: nothing is published there; use `ringkv publish`")
        elif self._due(current, wanted := list(_wanted(current, self._versions.heard.datasets))):
            await self._follow(current, wanted)
        else:
            self._tell(self._problem)

    def _due(self, current: Current, wanted: list[catalogs.Version]) -> bool:
        """Whether a version is new, was lost or is to be tried again, or routers serve another one."""
        changed = current != self._seen or wanted != self._wanted
        if changed or asyncio.get_running_loop().time() >= self._retry_at:
            return True
        return self._retry_at == inf and self._versions.find(current.version.dataset) is None

    async def _current(self) -> Current | None:
        """What the catalog says; at the start, if it cannot be reached, what it said last."""
        try:
            return await self._catalog.look()
        except StoreError:
            if self._remembered is None or self._versions.offered or (known := self._remembered.read()) is None:
                raise
            return known

    async def _follow(self, current: Current, wanted: list[catalogs.Version]) -> None:
        """Offer these versions of the catalog, as far as they can be opened."""
        before, self._seen, self._wanted = self._seen, current, wanted
        if before is not None and current.version.serial < before.version.serial:
            log.warning(
                "%s goes back from version %d to version %d: it is followed",
                self._catalog.location,
                before.version.serial,
                current.version.serial,
            )
        opened: dict[str, Dataset] = {}
        missing: set[catalogs.Version] = set()
        problem = ""
        try:
            for version in wanted:
                held = self._versions.held(version.dataset)
                try:
                    if held is None:
                        if self._mirror is not None:
                            await self._catalog.fetch(version.folder, self._mirror)
                        opened[version.dataset] = await to_end(self._open, version)
                    elif version is current.version:
                        await self._go_over(held, version)
                except (DatasetError, OSError) as error:
                    if version is current.version:
                        problem = str(error)
                        continue
                    missing.add(version)
                    if version not in self._missing:
                        log.warning("the older version %d cannot be offered: %s", version.serial, error)
            await self._offer(wanted, opened, self._versions.offered if problem else ())
        finally:
            for dataset in opened.values():
                dataset.close()
        self._missing = missing
        self._settle(current, problem)

    def _open(self, version: catalogs.Version) -> Dataset:
        dataset = self._catalog.open(version.folder, self._mirror)
        wrong = ""
        if dataset.manifest.dataset_id != version.dataset:
            wrong = f"holds dataset {dataset.manifest.dataset_id}, not the one that is published"
        elif dataset.path in self._versions.damaged:
            wrong = "was overwritten while it was served"
        if wrong:
            dataset.close()
            raise InvalidDataset(f"{dataset.path}: {wrong}; publish it again")
        return dataset

    async def _go_over(self, held: Version, version: catalogs.Version) -> None:
        """Read a dataset that is held and was published again from where it lies now: it may have been damaged before.

        Raises DatasetError.
        """
        dataset, objects = held.dataset, self._catalog.objects
        place = objects.place(version.folder)
        if dataset.origin is None:
            if str(dataset.path) != place:
                await self._versions.go_over(held, await to_end(self._open, version))
                log.info("what is read comes from %s now, and not from %s any more", place, dataset.path)
            return
        if (before := dataset.origin.location) == place:
            return
        if await go_over(dataset, objects, version.folder):
            log.info("what is fetched comes from %s now, and not from %s any more", place, before)
            held.retry()
        else:
            log.warning("%s: has the same data in other files: %s is fetched until the next start", place, before)

    async def _offer(
        self, wanted: list[catalogs.Version], opened: dict[str, Dataset], stay: Collection[Version]
    ) -> None:
        """Offer those of the versions that are held or opened, and those that are to stay."""
        ready: list[Version] = []
        for version in wanted:
            held = self._versions.held(version.dataset)
            dataset = held.dataset if held else opened.pop(version.dataset, None)
            if dataset is None:
                continue
            about = Offered(
                version.serial,
                version.dataset,
                dataset.manifest.partitions,
                version.forced,
                version.by,
                version.at,
            )
            held = held or Version(dataset, about, self._pace)
            held.about = about
            ready.append(held)
        ready += [version for version in stay if version not in ready]
        ready.sort(key=lambda version: -version.about.serial)
        if ready:
            await self._versions.offer(*ready)
            if not self.begun.done():
                self.begun.set_result(None)

    def _settle(self, current: Current, problem: str) -> None:
        """Log what came of following the catalog, and decide when to try again."""
        version = current.version
        self._problem = problem
        self._tell(problem)
        newest = self._versions.offered[:1]
        offered = bool(newest) and newest[0].about.serial == version.serial
        lacking = any(other.dataset in self._versions.heard.datasets for other in self._missing)
        if offered and not (problem or lacking):
            self._retry_at = inf
            self._pause = RETRY_MIN
        else:
            self._retry_at = asyncio.get_running_loop().time() + self._pause
            self._pause = min(2 * self._pause, RETRY_MAX)
        if offered and version != self._offered:
            self._offered = version
            log.info(
                "version %d is offered: dataset %s, published by %s at %s",
                version.serial,
                version.dataset,
                version.by,
                version.at,
            )
            if self._remembered is not None:
                self._remembered.write(current)

    def _tell(self, problem: str) -> None:
        """Say once that the catalog cannot be followed and why, or that it can again."""
        if problem and problem != self._told:
            log.error("the catalog cannot be followed: %s", problem)
        elif self._told and not problem:
            log.info("the catalog can be followed again")
        self._told = problem
        self._versions.behind = bool(problem)


def _wanted(current: Current, served: Collection[str]) -> Iterator[catalogs.Version]:
    """The current version, the one before it, and older ones that routers still serve: each dataset once."""
    newest: dict[str, catalogs.Version] = {}
    for version in (current.version, *current.history):
        newest.setdefault(version.dataset, version)
    yield from (each for number, each in enumerate(newest.values()) if number < 2 or each.dataset in served)
