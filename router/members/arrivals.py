"""Shards that have arrived and do not serve yet: how long a join waits for others, so that several are one change."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from ringkv.router.policy import JOIN_SETTLE, JOIN_SETTLE_MAX


class Arrivals:
    """The shards that have arrived; true while there are some."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}  # when each was first seen

    def __bool__(self) -> bool:
        return bool(self._seen)

    def look(self, names: AbstractSet[str]) -> None:
        """Note which shards have arrived and do not serve yet."""
        now = self._clock()
        self._seen = {name: self._seen.get(name, now) for name in names}

    def settled(self) -> float:
        """The time from which on no more shards are expected to join together with those that have arrived."""
        seen = self._seen.values()
        return min(max(seen) + JOIN_SETTLE, min(seen) + JOIN_SETTLE_MAX)
