"""Where a shard stands and how much it takes: what beside its name decides which partitions it owns.

shard-1   shard-1@eu-1a   shard-1*2   shard-1@eu-1a*0.5      name, zone, weight; in LEASE, TOPOLOGY and the ring id
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ringkv.cluster import told
from ringkv.cluster.errors import PeerError
from ringkv.cluster.limits import MAX_WEIGHT, MIN_WEIGHT

_WEIGHT: Final = re.compile(r"(0|[1-9][0-9]{0,2})(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a shard stands: shards of one `zone` may be lost together; those that name none are in one zone, "".

    A shard of twice the `weight` of another one owns twice as much.
    """

    zone: str = ""
    weight: float = 1.0

    def of(self, name: str) -> str:
        """The shard `name` that stands here, as one word."""
        zone = f"@{self.zone}" if self.zone else ""
        return name + zone + (f"*{self.weight:g}" if self.weight != 1.0 else "")


ANYWHERE: Final = Place()

Places = Mapping[str, Place]
"""The places of shards by their names; a shard that is not among them is ANYWHERE."""

NO_PLACES: Places = {}
"""All shards are alike."""


def weight_of(text: str) -> float:
    """A number from MIN_WEIGHT to MAX_WEIGHT with two digits behind the point at most. Raises ValueError."""
    if not (_WEIGHT.fullmatch(text) and MIN_WEIGHT <= float(text) <= MAX_WEIGHT):
        raise ValueError(f"a weight is a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g} as 2 or 0.75, not {text[:20]!a}")
    return float(text)


def placed(word: str) -> tuple[str, Place]:
    """The opposite of `Place.of`: a shard's name, and where it stands. Raises ValueError."""
    head, weighs, weight = word.partition("*")
    name, stands, zone = head.partition("@")
    if not told.is_name(name):
        raise ValueError(f"not a shard's name: {name[:60]!a}")
    if stands and not told.is_zone(zone):
        raise ValueError(f"not a zone: {zone[:60]!a}")
    return name, Place(zone, weight_of(weight) if weighs else 1.0)


def heard(zone: str, weight: str) -> Place:
    """The place that a shard tells of itself, checked. Raises PeerError."""
    if zone and not told.is_zone(zone):
        raise PeerError(f"it says that its zone is {zone[:60]!a}, which is none")
    try:
        return Place(zone, weight_of(weight))
    except ValueError as error:
        raise PeerError(f"it says that its weight is {weight[:20]!a}, which is none") from error


def words(names: Iterable[str], places: Places) -> list[str]:
    """Each shard as `Place.of` gives it, sorted by name."""
    return [places.get(name, ANYWHERE).of(name) for name in sorted(names)]
