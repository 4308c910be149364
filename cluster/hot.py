"""Hot partitions: how much of a shard's time they take, and the extra owners that the ring gives to them.

    shards ── HEARTBEAT: load ──► a router ── LEASE: so many extra owners ──► shards ── HEARTBEAT ──► the other routers

Only the numbers of extra owners are sent: each process computes which shards these are, as it computes all owners. Any
router may change the numbers. So they bear a serial, as in a Lamport clock: all take over those with the highest, and
of two with equal serials the greater. So routers agree without knowing each other, and nobody goes back to what was
replaced.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from ringkv.cluster.limits import MAX_EXTRA, MAX_SHARDS
from ringkv.cluster.place import ANYWHERE, Places
from ringkv.cluster.position import SLOTS

Counts = tuple[tuple[int, int], ...]
"""Partitions in ascending order, each with a number above 0."""

MAX_SERIAL: Final = (1 << 53) - 1

_COUNTS: Final = re.compile(r"(?:[0-9]{1,5}=[1-9][0-9]{0,3}(?:,(?!$)|$))*")
_HEAD: Final = re.compile(r"[0-9]{1,16}")


def counts_word(counts: Counts) -> str:
    """Counts as one word, partition=number: `17=2,40=1`."""
    return ",".join(f"{partition}={number}" for partition, number in counts)


def counts_of(text: str, most: int) -> Counts:
    """The counts that `counts_word` has written, with no number above `most`. Raises ValueError."""
    if not _COUNTS.fullmatch(text):
        raise ValueError(f"not partitions with a number each: {text[:60]!a}")
    pairs = [pair.split("=") for pair in text.split(",") if pair]
    counts = tuple((int(partition), int(number)) for partition, number in pairs)
    partitions = [partition for partition, _ in counts]
    if sorted(set(partitions)) != partitions or len(counts) > MAX_EXTRA:
        raise ValueError(f"not up to {MAX_EXTRA} partitions in ascending order: {text[:60]!a}")
    if any(partition >= SLOTS or number > most for partition, number in counts):
        raise ValueError(f"not a partition with a number up to {most} each: {text[:60]!a}")
    return counts


def _headed(text: str, mark: str, most_head: int, most: int) -> tuple[int, Counts]:
    """The number and the counts of `<mark><number>:<counts>`. Raises ValueError."""
    head, colon, counts = text.removeprefix(mark).partition(":")
    if not (text.startswith(mark) and colon and _HEAD.fullmatch(head) and int(head) <= most_head):
        raise ValueError(f"want {mark}<number>:<partition>=<number>,…, not {text[:60]!a}")
    return int(head), counts_of(counts, most)


@dataclass(frozen=True, slots=True)
class Load:
    """How a shard has spent its last few seconds, in percent of them.

    `busy` is how much of the time it was at work or waited for a processor, `parts` how much of it each of the hottest
    partitions took.
    """

    busy: int = 0
    parts: Counts = ()

    def word(self) -> str:
        return f"%{self.busy}:{counts_word(self.parts)}"

    @classmethod
    def parse(cls, text: str) -> "Load":
        """Raises ValueError."""
        return cls(*_headed(text, "%", 100, 100))


NO_LOAD: Final = Load()


@dataclass(frozen=True, slots=True, order=True)
class Extra:
    """How many owners beyond its replicas each hot partition is to have; of two the greater is the newer."""

    serial: int = 0
    counts: Counts = ()

    def word(self) -> str:
        return f"+{self.serial}:{counts_word(self.counts)}"

    @classmethod
    def parse(cls, text: str) -> "Extra":
        """Raises ValueError."""
        return cls(*_headed(text, "+", MAX_SERIAL, MAX_SHARDS))


NO_EXTRA: Final = Extra()


def with_extra(
    owners: Sequence[tuple[str, ...]], names: Sequence[str], places: Places, counts: Counts
) -> dict[int, tuple[str, ...]]:
    """The owners of the hot partitions: those that they have anyway, then the extra ones, as far as there are shards.

    One after the other gets a shard of a zone with the fewest owners of it, the one that will have the fewest hot
    copies for its weight: an owner of another hot partition could take little off this one. Else hashes decide.

    Source: Thaler, Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
    """
    found = {partition: owners[partition] for partition, _ in counts}
    held = Counter(name for own in found.values() for name in own)
    for turn in range(max((count for _, count in counts), default=0)):
        for partition, count in counts:
            own = found[partition]
            if turn >= count or len(own) == len(names):
                continue
            zones = Counter(places.get(name, ANYWHERE).zone for name in own)
            at = {name: places.get(name, ANYWHERE) for name in names if name not in own}
            order = {
                name: (
                    zones[place.zone],
                    (held[name] + 1) / place.weight,
                    xxh3_64_intdigest(f"{partition} {name}".encode()),
                )
                for name, place in at.items()
            }
            chosen = min(order, key=order.__getitem__)
            found[partition] = (*own, chosen)
            held[chosen] += 1
    return found
