"""Finds shards that hang long before they are given up, so that what they were asked is asked elsewhere in time.

    requests in flight, none answered for SILENT_TICKS ──► a heartbeat, at once
                                                             ├─ answered: the shard is slow, and hedges have a budget
                                                             └─ not answered for SILENT_TICKS more: the link is silent

A silent link is asked for nothing more until it replies, as long as there are other owners. So what it owes is all that
it can cost them, and is hedged whatever the budget says, which other shards that are late may have used up. Where the
other owners are silent as well, as all are while a machine stands still, it is hedged when one of them replies again.
"""

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
    """Looks at links from tick to tick. Ticks count, as time passes also while it is the router that stands still.

    It is true while an open link is silent: a further look has to find that it replies again, also where nothing is
    asked for but batches, which need no ticks.
    """

    def __init__(self) -> None:
        self._owing: dict[Link, _Owing] = {}
        self._looked_at: Topology | None = None
        self._found = False

    def __bool__(self) -> bool:
        return self._found

    def look(self, topology: Topology | None) -> list[Waiter]:
        """See which links are responsive; what the silent ones owe, if there is something new about who can be asked.

        It is not returned at each look, as ten thousand requests may wait where no other owner replies.
        """
        before, self._owing = self._owing, {}
        changed, self._looked_at = topology is not self._looked_at, topology
        links = topology.links.values() if topology else ()
        for link in links:
            responsive, oldest = link.responsive, link.oldest
            owing = before.get(link)
            if oldest is None or owing is None or owing.oldest is not oldest:
                link.responsive = link.open
                owing = None if oldest is None else _Owing(oldest)
            elif responsive and self._is_silent(link, owing):
                link.responsive = False
            changed = changed or link.responsive is not responsive
            if owing is not None:
                self._owing[link] = owing
        self._found = any(link.open and not link.responsive for link in links)
        return [waiter for link in links if not link.responsive for waiter in link.owed] if changed else []

    def _is_silent(self, link: Link, owing: _Owing) -> bool:
        owing.looks += 1
        if owing.looks == SILENT_TICKS:
            owing.beats = link.pulse.answered
            link.pulse.hurry()
        elif owing.looks > SILENT_TICKS and owing.beats != link.pulse.answered:
            owing.looks = 0
        return owing.looks >= 2 * SILENT_TICKS
