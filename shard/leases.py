"""Which partitions the shard must keep loaded: those that at least one lease still needs.

Kept apart from the store so that loading, which runs in a thread, and counting, which does not, never mix.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.lease import Leased
from shard.store import Store


@dataclass(eq=False, slots=True)
class Lease:
    """The right to read some partitions, until `Leases.end`."""

    partitions: tuple[int, ...] = field(repr=False)
    loaded: Leased


class Leases:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: Counter[int] = Counter()
        self._active: set[Lease] = set()
        self._changing = asyncio.Lock()  # one load or unload at a time, which is what the store allows
        self._unloading: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._active)

    async def grant(self, partitions: Iterable[int]) -> Lease:
        """Load what is missing, in a thread; reads of what is loaded go on meanwhile.

        Not to be cancelled: a thread cannot be, and would load partitions that nobody holds.
        """
        lease = Lease(tuple(partitions), Leased(keys=0, bytes=0))
        self._held.update(lease.partitions)
        self._active.add(lease)
        try:
            async with self._changing:
                await asyncio.to_thread(self._store.load, lease.partitions)
        except Exception:
            self.end(lease)
            raise
        lease.loaded = self._store.totals(lease.partitions)
        return lease

    def end(self, lease: Lease) -> None:
        """Let go of what only this lease needed, as soon as a load that is under way allows."""
        if lease not in self._active:
            return
        self._active.remove(lease)
        self._held.subtract(lease.partitions)
        self._held += Counter()  # drops what nobody holds
        task = asyncio.create_task(self._unload(lease.partitions))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unload(self, partitions: Iterable[int]) -> None:
        async with self._changing:
            await asyncio.to_thread(self._store.unload, [p for p in partitions if p not in self._held])
