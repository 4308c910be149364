"""Which partitions have extra owners, and how many: those that stay hot beyond their owners' reach, until they cool.

    loads of all shards ──► hot for HOT_AFTER ──► one owner more, within the budget ─┐
                       └──► cool for COOL_AFTER ──► one owner less ──────────────────┴──► the next topology
    what another router has said later ────────────────────────────────────────────────────┘

Decided from numbers alone: the controller brings them, and forms the topology. Hot keys are answered by each router
itself (router/lookup/hot.py); this is for what that cannot hold, and for clients that ask shards directly.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from ringkv.cluster.hot import MAX_SERIAL, NO_EXTRA, NO_LOAD, Extra, Load
from ringkv.cluster.lease import Offered
from ringkv.cluster.place import ANYWHERE
from ringkv.cluster.ring import Ring
from ringkv.router.lookup.topology import Topology
from ringkv.router.members.member import Member
from ringkv.router.policy import COOL_AFTER, COOL_PART, HOT_AFTER, HOT_BUSY, HOT_PART

_GAIN, _LOSE = 1, -1


class ExtraOwners:
    """`extra` is what the next topology is to have: at most `budget` owners, or more where another router says so.

    Without a budget there are none, whatever others say.
    """

    def __init__(self, budget: int, clock: Callable[[], float]) -> None:
        self.extra = NO_EXTRA
        self._budget = budget
        self._clock = clock
        self._partitions = 0
        self._since: dict[tuple[int, int], float] = {}  # since when a partition is to gain, or to lose
        self._reasons: dict[int, str] = {}

    def of(self, version: Offered | None) -> Extra:
        """What a topology of this version is to have: that of other data if they have as many partitions."""
        return self.extra if version is not None and version.partitions == self._partitions else NO_EXTRA

    def follow(self, topology: Topology | None, members: Iterable[Member]) -> None:
        """Look at what shards tell of the dataset of the topology that is in force."""
        if topology is not None:
            heat = {each.name: each.heat for each in members if each.identity and each.heat[0] == topology.dataset_id}
            loads = {name: load for name, (_, load, _) in heat.items()}
            self.look(topology.ring, loads, (extra for _, _, extra in heat.values()))

    def look(self, ring: Ring, loads: Mapping[str, Load], told: Iterable[Extra]) -> None:
        """Look at the ring that is in force, the loads of its shards, and what they were leased with last."""
        if not self._budget:
            return
        if ring.partitions != self._partitions:
            self._partitions, self.extra, self._since = ring.partitions, NO_EXTRA, {}
        newest = max((extra for extra in told if _fits(extra, ring)), default=NO_EXTRA)
        if newest > self.extra:
            self._set(newest)
        if ring.extra != self.extra.counts:
            return  # the next topology is on its way
        hot, cool = _hot(ring, loads), _cool(ring, loads)
        now = self._clock()
        states = [(partition, _GAIN) for partition in hot] + [(partition, _LOSE) for partition in cool]
        self._since = {state: self._since.get(state, now) for state in states}
        counts = defaultdict(int, self.extra.counts)
        for partition, change in states:
            after = HOT_AFTER if change == _GAIN else COOL_AFTER
            if now - self._since[partition, change] < after:
                continue
            if change == _LOSE or sum(counts.values()) < self._budget:
                counts[partition] += change
                self._reasons[partition] = hot.get(partition) or cool[partition]
        kept = tuple(sorted((partition, count) for partition, count in counts.items() if count))
        if kept != self.extra.counts:
            self._set(Extra(self.extra.serial + 1, kept))

    def account(self, before: Ring | None, after: Ring) -> Iterator[str]:
        """What a swap has changed about extra owners, each in a sentence."""
        if before is None:
            return
        was, has = dict(before.extra), dict(after.extra)
        for partition in sorted(was.keys() | has.keys()):
            old, new = before.owners[partition], after.owners[partition]
            reason = self._reasons.pop(partition, "another router has seen why")
            if has.get(partition, 0) > was.get(partition, 0) and (names := [name for name in new if name not in old]):
                yield f"partition {partition} gains {' and '.join(names)}: {reason}"
            if has.get(partition, 0) < was.get(partition, 0) and (names := [name for name in old if name not in new]):
                yield f"partition {partition} loses {' and '.join(names)}: {reason}"

    def _set(self, extra: Extra) -> None:
        changed = {partition for partition, _ in set(self.extra.counts) ^ set(extra.counts)}
        self._since = {state: since for state, since in self._since.items() if state[0] not in changed}
        self.extra = extra


def _fits(extra: Extra, ring: Ring) -> bool:
    return extra.serial < MAX_SERIAL and (not extra.counts or extra.counts[-1][0] < ring.partitions)


def _hot(ring: Ring, loads: Mapping[str, Load]) -> dict[int, str]:
    """Partitions that their owners in some zone cannot take any more of, the hottest first, and why."""
    parts: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for name, load in loads.items():
        for partition, part in load.parts:
            parts[partition][name] = part
    found: dict[int, tuple[int, str]] = {}
    for partition, by_name in parts.items():
        owners = ring.owners[partition] if partition < ring.partitions else ring.names
        if len(owners) == len(ring.names):
            continue
        zones: defaultdict[str, list[str]] = defaultdict(list)
        for name in owners:
            zones[ring.places.get(name, ANYWHERE).zone].append(name)
        for own in zones.values():
            taken = sum(by_name.get(name, 0) for name in own)
            busy = min(loads.get(name, NO_LOAD).busy for name in own)
            if busy >= HOT_BUSY and taken >= HOT_PART * len(own):
                who = f"{' and '.join(own)}, busy for {busy} % of it"
                found[partition] = max(
                    found.get(partition, (0, "")), (taken, f"it takes {taken // len(own)} % of the time of {who}")
                )
    return {partition: why for partition, (_, why) in sorted(found.items(), key=lambda item: -item[1][0])}


def _cool(ring: Ring, loads: Mapping[str, Load]) -> dict[int, str]:
    """Partitions with extra owners of which one could go, and why; none where an owner does not tell."""
    found = {}
    for partition, _ in ring.extra:
        owners = ring.owners[partition]
        if all(name in loads for name in owners):
            taken = sum(dict(loads[name].parts).get(partition, 0) for name in owners)
            if taken < COOL_PART * (len(owners) - 1):
                found[partition] = f"it takes {taken} % of the time of one shard"
    return found
