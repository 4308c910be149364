"""One version of the data that a shard holds: its dataset, what is leased of it, and all that reads it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ringkv.cluster.errors import DatasetOverwritten, PartitionNotLeased
from ringkv.cluster.hot import NO_EXTRA
from ringkv.cluster.lease import Offered
from ringkv.dataset.dataset import Dataset
from ringkv.shard.cold import AskingStore
from ringkv.shard.large import BoundedStore
from ringkv.shard.leases import Lease, Leases
from ringkv.shard.reads import Reads
from ringkv.shard.store import Store
from ringkv.shard.threads import to_end
from ringkv.shard.warmup import Pace, Warmup
from ringkv.shard.watch import watch

log = logging.getLogger("ringkv.shard")

CLOSE_SECONDS: Final = 2.0
"""Seconds that closing a version waits for its last reads: a disk that hangs must not keep a shard from leaving."""


class Version:
    """`about` is the version as routers are told of it. `bounded` is the store that GETs read where values are large,
    `asking` the one that they read one by one where none is.

    `everything` is a lease of all partitions, as long as no router has leased any; `extra` are the extra owners with
    which a router has leased last. `lost`: a segment was overwritten, so that nothing is read from this version.
    """

    def __init__(self, dataset: Dataset, about: Offered, pace: Pace) -> None:
        """Take over an open dataset, which is closed with the version."""
        self.about = about
        self._pace = pace
        self._read(dataset, store := Store(dataset), warmup := Warmup(store.blocks, pace))
        self.leases = Leases(store, warmup)
        self.everything: Lease | None = None
        self.extra = NO_EXTRA
        self.lost = False
        self._lives: list[asyncio.Task[None]] = []
        self._ended: Callable[[Version, BaseException], None]

    def live(self, ended: Callable[["Version", BaseException], None]) -> None:
        """Warm what is leased, and watch the segments. `ended` is called with the error that ends that, if one does."""
        self._ended = ended
        if not all(segment.nowait for segment in self.dataset.segments):
            log.warning(
                "%s: its file system cannot tell what is in memory: the first read of each block takes a thread",
                self.dataset.path,
            )

        def told(life: asyncio.Task[None]) -> None:
            if not life.cancelled() and (error := life.exception()) is not None and life in self._lives:
                self.lost = self.lost or isinstance(error, DatasetOverwritten)
                ended(self, error)

        self._lives = [asyncio.create_task(life) for life in (watch(self.store.blocks, self.warmup), self.warmup.run())]
        for life in self._lives:
            life.add_done_callback(told)

    async def go_over(self, dataset: Dataset) -> Coroutine[Any, Any, None]:
        """Read another copy of the dataset, which is taken over: the one before may be damaged.

        Returns what closes the one before, once everything that reads it has come to its end. Raises
        PartitionNotLeased if the version is closed, or lost, meanwhile.
        """
        store = Store(dataset)
        warmup = Warmup(store.blocks, self._pace)
        try:
            await self.leases.go_over(store, warmup)
        except BaseException:
            dataset.close()
            raise
        if self.lost:
            dataset.close()
            raise PartitionNotLeased(f"{dataset.path}: version {self.about.serial} was lost meanwhile")
        before = _close(self.dataset, self._lives, self.reads)
        self._read(dataset, store, warmup)
        self.live(self._ended)
        return before

    def retry(self) -> None:
        """Try again what could not be served, as the dataset's blocks come from another place now."""
        blocks = self.store.blocks
        partitions = {block // blocks.width for block in blocks.corrupt}
        blocks.corrupt.clear()
        self.warmup.add(partitions)

    async def close(self) -> None:
        """End everything that reads the dataset, and close it. There must be no leases any more."""
        lives, self._lives = self._lives, []
        await _close(self.dataset, lives, self.reads, self.leases)

    def _read(self, dataset: Dataset, store: Store, warmup: Warmup) -> None:
        self.dataset = dataset
        self.store = store
        self.bounded = BoundedStore(dataset, store.blocks)
        self.asking = AskingStore(dataset, store.blocks)
        self.reads = Reads(store.blocks)
        self.warmup = warmup


async def _close(dataset: Dataset, lives: list[asyncio.Task[None]], reads: Reads, leases: Leases | None = None) -> None:
    """End everything that reads the dataset, and close it."""
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    ending = [reads.finish(CLOSE_SECONDS), *([leases.close(CLOSE_SECONDS)] if leases is not None else [])]
    if all(await asyncio.gather(*ending)):
        await to_end(dataset.close)
