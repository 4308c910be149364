"""Which of the shards that answer make up the cluster, and why the others do not: a pure function."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ringkv.process.address import Address


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers at an address. `run_id` tells one process from the next of the same name."""

    name: str
    run_id: str
    dataset_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shard that answers now."""

    address: Address
    identity: Identity
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """`shards` by name, all of one dataset; `kept_out` are addresses with the reason, in words."""

    shards: dict[str, Candidate]
    kept_out: dict[Address, str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.shards)

    @property
    def dataset_id(self) -> str:
        return next(iter(self.shards.values())).identity.dataset_id

    @property
    def partitions(self) -> int:
        return next(iter(self.shards.values())).identity.partitions


def choose(
    candidates: Iterable[Candidate], served: str | None, serving: dict[str, str], held: Iterable[str] = ()
) -> Membership:
    """Choose the shards of the next topology.

    `served` is the dataset that is served now, `serving` the names of its shards with their run ids: both
    are kept as long as they can be, so that whoever comes later is the one who is kept out. A dataset can be
    kept until the last of its shards leaves: then the next one takes over while the last still serves.
    `held` are names to leave out unless nobody else is there.
    """
    present = sorted(candidates, key=lambda candidate: candidate.address)
    dataset = _dataset(present, served)
    shards: dict[str, Candidate] = {}
    kept_out: dict[Address, str] = {}
    # Shards that serve already come first, so that a second shard of the same name finds the name taken.
    present.sort(key=lambda candidate: serving.get(candidate.identity.name) != candidate.identity.run_id)
    for candidate in present:
        identity = candidate.identity
        holder = shards.get(identity.name)
        if identity.dataset_id != dataset:
            if not candidate.draining:
                kept_out[candidate.address] = f"it serves dataset {identity.dataset_id}, this cluster {dataset}"
        elif holder is None:
            shards[identity.name] = candidate
        elif holder.identity.run_id != identity.run_id:
            kept_out[candidate.address] = f"the name {identity.name} is taken by {holder.address}; give it another"
    return Membership(_preferred(shards, frozenset(held)), kept_out)


def _dataset(candidates: list[Candidate], served: str | None) -> str | None:
    staying = [candidate for candidate in candidates if not candidate.draining] or candidates
    counts = Counter(candidate.identity.dataset_id for candidate in staying)
    if served in counts or not counts:
        return served
    return min(counts, key=lambda dataset: (-counts[dataset], dataset))


def _preferred(shards: dict[str, Candidate], held: frozenset[str]) -> dict[str, Candidate]:
    """Without those that are leaving or are held back, as far as somebody remains."""
    staying = {name: shard for name, shard in shards.items() if not shard.draining} or shards
    return {name: shard for name, shard in staying.items() if name not in held} or staying
