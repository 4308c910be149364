"""Keeps a shard that fails again and again out of the ring for a while: each return would move partitions.

Where all shards fail none is kept out. If they refuse leases they are asked less and less often, down to once a second.
"""

from collections.abc import Callable

from ringkv.router.policy import FLAP_HOLD_MAX, FLAP_HOLD_MIN, FLAP_UPTIME, RECONNECT_MAX, RECONNECT_MIN


class FlapGuard:
    """Holds, by name, which shards are kept out and until when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hold: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def lost(self, name: str, uptime: float) -> float:
        """Note that a shard was lost `uptime` seconds after it joined; the seconds for which it is kept out."""
        if uptime >= FLAP_UPTIME:
            self._hold.pop(name, None)
            return 0.0
        hold = min(max(2 * self._hold.get(name, 0.0), FLAP_HOLD_MIN), FLAP_HOLD_MAX)
        self._hold[name] = hold
        self._until[name] = self._clock() + hold
        return hold

    def held(self) -> frozenset[str]:
        """The names that are still kept out."""
        now = self._clock()
        return frozenset(name for name, until in self._until.items() if until > now)


class Refusals:
    """Leases that were refused since the latest topology was formed."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._pause = RECONNECT_MIN

    def is_new(self, name: str, problem: str) -> bool:
        """Whether this shard has not refused with the same problem before."""
        before = self._problems.get(name)
        self._problems[name] = problem
        return problem != before

    def pause(self) -> float:
        """The seconds to wait before leases are asked for again, each time more."""
        pause = self._pause
        self._pause = min(2 * pause, RECONNECT_MAX)
        return pause

    def end(self) -> None:
        """A topology was formed."""
        self._problems.clear()
        self._pause = RECONNECT_MIN
