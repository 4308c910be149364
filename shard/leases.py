"""Which partitions the shard must keep leased: those that at least one lease still needs."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ringkv.cluster.errors import PartitionNotLeased
from ringkv.cluster.lease import Leased
from ringkv.shard.blocks import Blocks
from ringkv.shard.store import Store
from ringkv.shard.threads import to_end
from ringkv.shard.warmup import Warmup


@dataclass(eq=False, slots=True)
class Lease:
    """The right to read some partitions, until `Leases.end`."""

    partitions: tuple[int, ...] = field(repr=False)
    leased: Leased


class Leases:
    """Those that were granted are counted; what `keep` has returned for replies that are under way is not."""

    def __init__(self, store: Store, warmup: Warmup) -> None:
        self._store = store
        self._warmup = warmup
        self._held: Counter[int] = Counter()
        self._active: set[Lease] = set()
        self._kept: set[Lease] = set()
        self._granting = asyncio.Lock()
        self._closed = False
        self._releasing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._active)

    @property
    def are_needed(self) -> bool:
        """Whether anything is leased, be it for a reply alone."""
        return bool(self._active or self._kept)

    async def grant(self, partitions: Iterable[int], extra: Collection[int] = ()) -> Lease:
        """Let partitions be read from now on. Reads no block: that is left to the warm-up or the first request.

        `extra` are those of them that are further copies of hot ones: the keys and bytes that the lease tells do not
        count them, since routers add these up. Raises PartitionNotLeased once `close` was called.
        """
        lease = Lease(tuple(partitions), Leased(keys=0, bytes=0))
        self._held.update(lease.partitions)
        self._active.add(lease)
        try:
            async with self._granting:
                self._still_serve()
                blocks = self._store.blocks
                new = [partition for partition in lease.partitions if not blocks.is_leased(partition)]
                found = await self._leased(blocks, new)
                blocks.fit()
                self._warmup.add(found)
        except Exception:
            self.end(lease)
            raise
        lease.leased = self._store.totals(p for p in lease.partitions if p not in extra)
        return lease

    async def go_over(self, store: Store, warmup: Warmup) -> None:
        """Lease all that is leased in the store of another copy of the dataset, and from then on there alone.

        Nothing but that happens between the last of it and the return. Raises PartitionNotLeased once `close` was
        called.
        """
        async with self._granting:
            found = await self._leased(store.blocks, sorted(self._held))
            self._still_serve()
            store.blocks.release([p for p in found if p not in self._held])
            store.blocks.fit()
            warmup.add(found)
            # What is still to be let go of is of the store of before, and goes with that.
            for releasing in self._releasing:
                releasing.cancel()
            self._store, self._warmup = store, warmup

    def keep(self, partition: int) -> Lease:
        """Let a partition that can be read now stay so for a reply that is under way."""
        lease = Lease((partition,), Leased(keys=0, bytes=0))
        self._held[partition] += 1
        self._kept.add(lease)
        return lease

    def end(self, lease: Lease) -> None:
        """Let go of what only this lease needed."""
        leases = self._kept if lease in self._kept else self._active
        if lease not in leases:
            return
        leases.remove(lease)
        self._held.subtract(lease.partitions)
        free = [p for p in lease.partitions if not self._held[p]]
        for partition in free:
            del self._held[partition]
        self._release(free)

    async def close(self, seconds: float) -> bool:
        """Grant nothing more, and leave what is still to be let go of as it is.

        Whether what is being granted has come to its end within so many seconds: until then it reads the dataset.
        """
        self._closed = True
        for releasing in self._releasing:
            releasing.cancel()
        await asyncio.gather(*self._releasing, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._granting:
                return True
        return False

    async def _leased(self, blocks: Blocks, partitions: list[int]) -> Collection[int]:
        """Lease these partitions, of which those may have to be let go of that nobody needs any more."""
        # In a thread: the tables may have to be read from disk.
        found = await to_end(blocks.leasing, partitions)
        # A segment at a time, as no request is answered meanwhile: a large one takes a millisecond or two.
        for group in blocks.dataset.by_segment(found).values():
            blocks.lease({p: found[p] for p in group if p in self._held})
            await asyncio.sleep(0)
        return found

    def _still_serve(self) -> None:
        """Raises PartitionNotLeased behind `close`."""
        if self._closed:
            raise PartitionNotLeased("this version is not served any more")

    def _release(self, partitions: list[int]) -> None:
        """Forget partitions and give their pages back: those of the first segment at once, the rest behind."""
        groups = list(self._store.dataset.by_segment(partitions).values())
        if not groups or self._closed:
            return
        self._store.blocks.release(groups[0])
        releasing = asyncio.create_task(self._release_behind(groups[1:]))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _release_behind(self, groups: list[list[int]]) -> None:
        # As they are leased: in one go it would take a tenth of a second of a large dataset, on all shards at once.
        for group in groups:
            await asyncio.sleep(0)
            self._store.blocks.release([p for p in group if p not in self._held])
        self._store.blocks.fit()
