"""Who owns what at one moment: a snapshot that is replaced, never changed."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain

from ringkv.cluster.lease import Leased
from ringkv.cluster.place import ANYWHERE
from ringkv.cluster.position import slot_shift
from ringkv.cluster.ring import Ring, moved_partitions
from ringkv.process.words import counted
from ringkv.router.lookup.link import Link


class Turns(tuple[Link, ...]):  # noqa: SLOT001 - a tuple can have no slots with names
    """Owners of a hot partition: each look at them begins with the next one, as all of them are to be asked.

    Of other partitions the preferred owner is asked first, however little it has in flight; of these several routers
    with a request or two each would ask it alone.
    """

    _first = 0

    def __iter__(self) -> Iterator[Link]:
        self._first = first = (self._first + 1) % len(self)
        return iter(self[first:] + self[:first])


@dataclass(frozen=True, slots=True)
class Topology:
    """A ring with an open lease on every shard of it.

    `routes[slot >> shift]` are the links to that partition's owners, those in the router's zone first, beyond that in
    preference order; `firsts[slot >> shift]` are those of them that are asked as long as they can be. `leased` is what
    each shard may read under it, `owned` how many partitions each of them owns, both without extra copies of hot ones;
    `before` is the ring of the topology that it replaced.
    """

    epoch: int
    dataset_id: str
    ring: Ring
    links: dict[str, Link] = field(repr=False)
    leased: dict[str, Leased]
    routes: tuple[tuple[Link, ...], ...] = field(repr=False)
    shift: int
    owned: dict[str, int] = field(repr=False)
    before: Ring | None = field(default=None, repr=False)
    firsts: tuple[tuple[Link, ...], ...] = field(default=(), repr=False)

    @classmethod
    def build(  # noqa: PLR0913, PLR0917 - what a topology is made of
        cls,
        epoch: int,
        dataset_id: str,
        ring: Ring,
        links: dict[str, Link],
        leased: dict[str, Leased],
        before: Ring | None = None,
        zone: str = "",
    ) -> "Topology":
        """Without a `zone` no owners are preferred."""
        for name, link in links.items():
            link.dataset_id = dataset_id
            link.near = zone in {"", ring.places.get(name, ANYWHERE).zone}
        # Equal owners share one tuple: a ring of N shards has far fewer combinations than partitions.
        combinations = {
            owners: tuple(sorted((links[name] for name in owners), key=lambda link: not link.near))
            for owners in set(ring.owners)
        }
        near = {owners: tuple(link for link in links if link.near) or links for owners, links in combinations.items()}
        routes, firsts = ([found[owners] for owners in ring.owners] for found in (combinations, near))
        for partition, _ in ring.extra:
            routes[partition], firsts[partition] = Turns(routes[partition]), Turns(firsts[partition])
        # Counted here, in a thread: figures are looked at every few seconds, and a ring may have 16,384 partitions.
        owned = Counter(chain.from_iterable(ring.owners))
        owned.subtract(chain.from_iterable(ring.extra_owners.values()))
        shift = slot_shift(ring.partitions)
        return cls(epoch, dataset_id, ring, links, leased, tuple(routes), shift, owned, before, tuple(firsts))

    @property
    def dataset(self) -> Leased:
        """The keys and bytes of the whole dataset; every key is leased on as many shards as own it."""
        copies = self.ring.copies
        leased = self.leased.values()
        return Leased(sum(shard.keys for shard in leased) // copies, sum(shard.bytes for shard in leased) // copies)

    def describe(self) -> str:
        """Its shards and keys, and what moved since the topology before, in words."""
        ring = self.ring
        shards = f"{counted(len(ring.names), 'shard')}, {counted(self.dataset.keys, 'key')}, ring {ring.ring_id[:8]}"
        if self.before is None:
            return f"dataset {self.dataset_id}, {shards}"
        moved, least = moved_partitions(self.before, ring)
        return f"{shards}, {counted(moved, 'partition')} change owner, at least {least:,} have to"

    def last_resort(self, partition: int, asked: Collection[Link]) -> Link | None:
        """An owner with an open link that was not asked, be it silent or in another zone: the least busy one."""
        able = (link for link in self.routes[partition] if link.open and link not in asked)
        return min(able, key=lambda link: (not link.responsive, link.in_flight), default=None)

    def retire(self) -> None:
        """Let every link finish what is in flight, and close."""
        for link in self.links.values():
            link.retire()
