"""Finds shards that hang long before they are given up, so that what they were asked is asked elsewhere in time.

    requests in flight, none answered for SILENT_TICKS ──► a heartbeat, at once
                                                             ├─ answered: the shard is slow, and hedges have a budget
                                                             └─ not answered for SILENT_TICKS more: the link is silent

A silent link is asked for nothing more until it replies, as long as there are other owners. So what it owes is all that
it can cost them, and is hedged whatever the budget says, which other shards that are late may have used up. Where the
other owners are silent as well, as all are while a machine stands still, it is hedged when one of them replies again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ringkv.router.lookup.link import Link, Waiter
from ringkv.router.lookup.topology import Topology
from ringkv.router.policy import SILENT_TICKS


@dataclass(slots=True)
class _Owing:
    """A link at several looks: the request that it owes for longest, and the heartbeats answered before the doubt."""

    oldest: Waiter
    looks: int = 0
    beats: int = 0


class Silence:
    """Looks at links from tick to tick. Ticks count, as time passes also while it is the router that stands still."""

    def __init__(self) -> None:
        self._owing: dict[Link, _Owing] = {}
        self._owed: list[Waiter] = []  # by silent links, as long as nobody else can be asked

    def look(self, topology: Topology | None, ask_elsewhere: Callable[[Waiter], bool]) -> None:
        """See which links are responsive. What silent ones owe is to be asked elsewhere, until that returns True."""
        before, self._owing = self._owing, {}
        for link in topology.links.values() if topology else ():
            oldest = link.oldest
            owing = before.get(link)
            if oldest is None or owing is None or owing.oldest is not oldest:
                link.responsive = link.open
                owing = None if oldest is None else _Owing(oldest)
            elif link.responsive and self._is_silent(link, owing):
                link.responsive = False
                self._owed += link.owed
            if owing is not None:
                self._owing[link] = owing
        self._owed = [waiter for waiter in self._owed if not ask_elsewhere(waiter)]

    def _is_silent(self, link: Link, owing: _Owing) -> bool:
        owing.looks += 1
        if owing.looks == SILENT_TICKS:
            owing.beats = link.pulse.answered
            link.pulse.hurry()
        elif owing.looks > SILENT_TICKS and owing.beats != link.pulse.answered:
            owing.looks = 0
        return owing.looks >= 2 * SILENT_TICKS
