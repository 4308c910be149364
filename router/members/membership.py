"""Which version of the data is served next, by which of the shards that answer, and why the others do not: pure.

    candidates ──► those that serve ──► the highest version that all of them offer ──► all that offer it
                                   └──► none higher: the one that is served stays

If none is served yet, the one that other routers serve is chosen first, so that the gate has something to compare with.
Versions are ordered by serial, but leased by dataset: a rollback is a higher serial of an older dataset, and a shard
that is pinned to its dataset offers it under serial 0.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from ringkv.cluster.lease import Offered
from ringkv.cluster.nodes import Node
from ringkv.cluster.place import ANYWHERE, Place, Places
from ringkv.process.address import Address
from ringkv.router.lookup.pulse import Pulse

Key = tuple[int, str]
"""A version: its serial and its dataset."""


def key_of(version: Offered) -> Key:
    return version.serial, version.dataset_id


@dataclass(frozen=True, slots=True)
class Identity:
    """The shard that answers at an address. `run_id` tells one process from the next of the same name.

    `versions` are those that can be leased there, the newest first, each of another dataset; `served` is the dataset
    that routers serve, as far as the shard knows, `place` its zone and weight. At `announced` clients of a Redis
    Cluster reach it: host and port, "" and 0 if it announces nothing.
    """

    name: str
    run_id: str
    versions: tuple[Offered, ...]
    announced: tuple[str, int] = ("", 0)
    place: Place = ANYWHERE
    served: str = ""

    @property
    def node(self) -> Node:
        return Node(self.name, *self.announced, self.place)

    def offers(self, dataset_id: str) -> bool:
        return any(version.dataset_id == dataset_id for version in self.versions)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shard that answers now; `pulse` is that of its heartbeats."""

    address: Address
    identity: Identity
    draining: bool = False
    pulse: Pulse | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Membership:
    """`shards` by name, all to serve `version`; `kept_out` are addresses with the reason, in words.

    Shards that serve this version but offer only newer ones stay, as long as nothing has to be leased anew: `leasable`
    is without them. `version` is None if no shard offers anything.
    """

    version: Offered | None
    shards: dict[str, Candidate]
    kept_out: dict[Address, str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.shards)

    @property
    def places(self) -> Places:
        return {name: candidate.identity.place for name, candidate in self.shards.items()}

    @property
    def leasable(self) -> "Membership":
        version = self.version
        able = {name: c for name, c in self.shards.items() if version and c.identity.offers(version.dataset_id)}
        return replace(self, shards=able)

    def able(self, dataset_id: str) -> "Membership":
        """The membership of those shards that are not leaving and offer this dataset, to serve that."""
        shards = {name: c for name, c in self.shards.items() if c.identity.offers(dataset_id) and not c.draining}
        offered = (each for shard in shards.values() for each in shard.identity.versions)
        version = next((each for each in offered if each.dataset_id == dataset_id), None)
        return Membership(version, shards, {})

    @property
    def newest(self) -> Offered | None:
        """The version of the highest serial that one of the shards offers."""
        offered = (version for shard in self.shards.values() for version in shard.identity.versions)
        return max(offered, key=key_of, default=None)

    def stands(self, candidates: Iterable[Candidate]) -> bool:
        """Whether all of these shards can still be leased this version."""
        version = self.version
        now = {candidate.address: candidate for candidate in candidates}
        return version is not None and all(
            (other := now.get(shard.address)) is not None
            and other.identity.run_id == shard.identity.run_id
            and other.draining == shard.draining
            and other.identity.offers(version.dataset_id)
            for shard in self.shards.values()
        )


@dataclass(frozen=True, slots=True)
class Serving:
    """A shard of the current topology: which process it is, and since when it takes part."""

    run_id: str
    since: float


def choose(
    candidates: Iterable[Candidate],
    served: Offered | None,
    serving: dict[str, str],
    held: Iterable[str] = (),
    refused: Collection[Key] = (),
) -> Membership:
    """Choose the version and the shards of the next topology.

    `served` is the version that is served now, `serving` the names of its shards with their run ids: both are kept as
    long as possible, so that a shard which comes later is the one to be kept out. A dataset is kept until the last of
    its shards leaves: then the next one takes over while that still serves.
    `held` are names to leave out unless there are no others, `refused` are versions that must not take over.
    """
    present = sorted(candidates, key=lambda candidate: candidate.address)
    version = _next_version(present, served, serving, refused)
    stays = version is not None and served is not None and version.dataset_id == served.dataset_id
    # Shards that serve already come first, so that a second shard of the same name finds the name taken.
    present.sort(key=lambda candidate: not _serves(candidate, serving))
    shards: dict[str, Candidate] = {}
    kept_out: dict[Address, str] = {}
    for candidate in present:
        identity = candidate.identity
        holder = shards.get(identity.name)
        goes_on = stays and _serves(candidate, serving)
        if not goes_on and not (version and identity.offers(version.dataset_id)):
            if not candidate.draining:
                kept_out[candidate.address] = _other_data(identity, version)
        elif holder is None:
            shards[identity.name] = candidate
        elif holder.identity.run_id != identity.run_id:
            kept_out[candidate.address] = f"the name {identity.name} is taken by {holder.address}; give it another"
    return Membership(version, _preferred(shards, frozenset(held)), kept_out)


def choose_again(
    candidates: Iterable[Candidate], served: Offered | None, serving: dict[str, str], held: Iterable[str]
) -> Membership | None:
    """The shards that lease what is served anew, whatever is newer; None if some of them cannot."""
    present = list(candidates)
    offered = {version for candidate in present for version in candidate.identity.versions}
    others = {key_of(version) for version in offered if served is None or version.dataset_id != served.dataset_id}
    found = choose(present, served, serving, held, others)
    return found if found.shards and found.leasable == found else None


def _next_version(
    present: list[Candidate], served: Offered | None, serving: dict[str, str], refused: Collection[Key]
) -> Offered | None:
    staying = [candidate for candidate in present if not candidate.draining] or present
    if served is not None:
        if voters := [candidate for candidate in staying if _serves(candidate, serving)]:
            return _successor(voters, served, refused)
        if any(candidate.identity.offers(served.dataset_id) for candidate in staying):
            return served
    counts = Counter(version for shard in staying for version in shard.identity.versions)
    told = Counter(shard.identity.served for shard in staying)
    allowed = (version for version in counts if key_of(version) not in refused)

    def order(version: Offered) -> tuple[int, int, int, str]:
        return -told[version.dataset_id], -counts[version], -version.serial, version.dataset_id

    return min(allowed, key=order, default=None)


def _successor(voters: list[Candidate], served: Offered, refused: Collection[Key]) -> Offered:
    """The highest version that all of these shards offer and that may take over, else the one that is served."""
    by_key = [{key_of(version): version for version in voter.identity.versions} for voter in voters]
    common = [version for key, version in by_key[0].items() if all(key in offered for offered in by_key)]
    # The dataset that is served may have become another version: after a rollback, or in a catalog of older days.
    served = next((version for version in common if version.dataset_id == served.dataset_id), served)
    outdated = not any(voter.identity.offers(served.dataset_id) for voter in voters)
    newer = [version for version in common if outdated or version.serial > served.serial]
    return max((version for version in newer if key_of(version) not in refused), key=key_of, default=served)


def _serves(candidate: Candidate, serving: dict[str, str]) -> bool:
    return serving.get(candidate.identity.name) == candidate.identity.run_id


def _other_data(identity: Identity, version: Offered | None) -> str:
    """The reason why a shard that does not offer this version is kept out."""
    if not identity.versions:
        return "it has no dataset yet"
    own = " and ".join(version.dataset_id for version in identity.versions)
    cluster = f"this cluster {version.dataset_id}" if version else "which the gate has refused"
    return f"it serves dataset {own}, {cluster}"


def _preferred(shards: dict[str, Candidate], held: frozenset[str]) -> dict[str, Candidate]:
    """The shards without those that are leaving or held back, unless none would remain."""
    staying = {name: shard for name, shard in shards.items() if not shard.draining} or shards
    return {name: shard for name, shard in staying.items() if name not in held} or staying
