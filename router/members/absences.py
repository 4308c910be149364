"""Which shards are missing, and since when: the log tells the end of every loss of which it told the beginning."""

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from ringkv.router.members.events import EventLog, Kind
from ringkv.router.policy import DEADLINE

log = logging.getLogger("ringkv.router")


class Absences:
    """An end is logged at the level of its beginning: a log that shows a loss also shows that it is over."""

    def __init__(self, clock: Callable[[], float], events: EventLog) -> None:
        self._clock = clock
        self._events = events
        self._gone: dict[str, float] = {}  # shards that have served, and when they were lost or left
        self._lost: set[str] = set()  # those of them that were lost
        self._nobody_since: float | None = clock()
        self._told = False

    def lost(self, name: str, hold: float) -> None:
        """Note that a serving shard was lost, and is kept out for `hold` seconds."""
        held = f"; kept out for {hold:.0f} s" if hold else ""
        log.warning("shard %s is lost%s", name, held)
        self._events.note(Kind.LOSS, f"{name} is lost{held}", name)
        self._gone[name] = self._clock()
        self._lost.add(name)

    def swapped(self, before: AbstractSet[str], after: AbstractSet[str]) -> None:
        """Note that another topology serves; `before` are the shards of the last one without those that were lost."""
        now = self._clock()
        for name in sorted(after - before):
            if name not in self._gone:
                self._events.note(Kind.JOIN, f"{name} takes part", name)
                continue
            away = now - self._gone.pop(name)
            self._events.note(Kind.RECOVERY, f"{name} takes part again after {away:.1f} s", name)
            if name in self._lost:
                self._lost.remove(name)
                log.warning("shard %s is back after %.1f s", name, away)
        self._gone |= dict.fromkeys(before - after, now)

    def look(self, serving: AbstractSet[str]) -> None:
        """Note that these shards serve now. To be called at each change, and now and then without one."""
        now = self._clock()
        if self._nobody_since is None:
            self._nobody_since = None if serving else now
            return
        waited = now - self._nobody_since
        if serving:
            if self._told:
                log.warning("shards serve after %.1f s without any", waited)
            self._nobody_since, self._told = None, False
        elif waited >= DEADLINE and not self._told:
            self._told = True
            log.warning("no shard has served for %.0f s: requests get 503", waited)
