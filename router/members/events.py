"""What has happened to the cluster as this router saw it: the last few hundred events, each with its time.

They are apart from the log, which leaves the process at once: the page and `GET /events` tell what happened before
somebody came to look.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ringkv.router.policy import EVENTS_KEPT


class Kind(StrEnum):
    """What an event is."""

    START = "start"  # the router has started
    JOIN = "join"  # a shard takes part for the first time
    RECOVERY = "recovery"  # a shard takes part again
    LEAVE = "leave"  # a shard has said that it is going
    TROUBLE = "trouble"  # a shard stopped answering, or what answers is no shard that can be used; with the reason
    LOSS = "loss"  # a shard that took part is gone
    REFUSAL = "refusal"  # a shard must not take part, or gave no lease; with the reason
    SWAP = "swap"  # another topology serves
    HOT = "hot"  # a hot partition gains or loses an owner
    VERSION = "version"  # another version of the data was published, is served, is held up, or is refused by the gate


@dataclass(frozen=True, slots=True)
class Event:
    """`text` is a whole sentence; `at` in seconds since 1970, UTC.

    `shard` is a name; "" if no shard is meant or its name is not known. `worker` is the router process that saw it.
    """

    at: float
    kind: Kind
    shard: str
    text: str
    worker: str


class EventLog:
    """The latest EVENTS_KEPT events of one process, the oldest first; `worker` is the name of that process.

    `count` is the number of all events so far: whoever has seen as many has nothing new to read.
    """

    def __init__(self, worker: str = "router", clock: Callable[[], float] = time.time) -> None:
        self.count = 0
        self._worker = worker
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)

    def note(self, kind: Kind, text: str, shard: str = "") -> None:
        self.count += 1
        self._events.append(Event(self._clock(), kind, shard, text, self._worker))

    def latest(self) -> tuple[Event, ...]:
        return tuple(self._events)
