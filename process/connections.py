"""The connections of a process: how many there may be, and for how long one may keep the process waiting.

    the first byte, or the rest of a request ──► header ──┐
    the next request ──────────────────────────► idle ────┤   nothing of it has come for so long:
    the rest of a body ────────────────────────► body ────┤   the connection is closed
    that answers are read ─────────────────────► send ────┘

A connection says what its client owes, and a mark that changes whenever something of that comes. Answering a request
costs nothing more for that: each connection is looked at once a second. Where there are as many as may be, a new one
takes the place of the one that has been idle for longest. Where memory for clients is short (`ringkv.process.budget`),
those that would take more of it wait, and those for whom it has been held for longest are closed.
"""

import asyncio
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final, Literal, Protocol

from ringkv.process.budget import Budget, memory_of
from ringkv.process.closings import Closings, Reason
from ringkv.process.stalled import READ_FREELY, Stalled

Timed = Literal["header", "idle", "body", "send"]
"""What a client may owe for a time."""

Owed = Timed | Literal["nothing", "listens"]
"""Or "nothing" while the process works on its request; who "listens", for push messages, owes nothing either."""

Waiting = tuple[Owed, float]
"""What the client owes, and the mark."""

SLICES: Final = 10
SLICE_SECONDS: Final = 0.1
"""A tenth of all connections is looked at ten times a second: of 10,000 that takes a millisecond each time."""

CLOSE_TOGETHER: Final = 16
"""Connections that may have to be closed in one turn of the event loop: a tenth of a millisecond each."""

FREE_TOGETHER: Final = 2
"""The same of connections that hold memory: of these the system has megabytes to free, a millisecond each."""

PRESSED_SECONDS: Final = 2.0
"""How long a client that sends and reads nothing may hold memory for the lack of which others are not read from."""

NEVER: Final = 10 * 365 * 86_400.0
"""Seconds after which libraries would close connections by timers of their own: never, as the guard does that."""

_EVICTABLE: Final = frozenset({"header", "idle", "listens"})
"""A connection in one of these states may be closed for a new one: nothing that was asked is lost."""

_NEW: Final[Waiting] = ("header", 0)
"""What a client owes when it has just connected."""


class Guarded(Protocol):
    """A connection, as far as its guard has to know it."""

    def waiting(self) -> Waiting:
        """What the client owes now. The mark must change whenever something of that comes, and need not otherwise."""

    def stall(self, *, stalled: bool) -> None:
        """Read no more from the client, or go on with that."""

    def look(self) -> None:
        """Close, if the client has gone while it was not read from, of which the event loop tells nothing."""

    def drop(self, reason: Reason) -> None:
        """Close at once; where a body does not come, the request may still be refused in good order."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds, and numbers of connections; 0 is without limit. The times are nginx's defaults, `most` is Redis's.

    `memory` is how many bytes the process may take; None for a share of what there is.
    """

    header: float = 60.0
    idle: float = 75.0
    body: float = 60.0
    send: float = 60.0
    most: int = 10_000
    per_peer: int = 0  # clients behind one proxy have one address
    memory: int | None = None

    def __post_init__(self) -> None:
        assert all((getattr(self, field.name) or 0) >= 0 for field in fields(self))

    def seconds(self, owed: Timed) -> float:
        """How long a client may owe this."""
        return getattr(self, owed) or float("inf")


DEFAULT_LIMITS: Final = ConnectionLimits()


@dataclass(slots=True)
class _Record:
    """What a connection was seen to owe, with the mark, and since when both have been the same."""

    peer: str
    waiting: Waiting
    since: float
    held: int = 0


class ConnectionGuard:
    """`closed` counts the connections that were closed here, by reason. All ports of a process share one guard.

    Of the process's memory `reserved` bytes are for something else than its clients.
    """

    def __init__(self, limits: ConnectionLimits = DEFAULT_LIMITS, reserved: int = 0) -> None:
        self._closings = Closings()
        self.closed = self._closings.counts
        self.budget = Budget(memory_of(limits.memory) - reserved)
        self._limits = limits
        self._records: OrderedDict[Guarded, _Record] = OrderedDict()  # the one looked at longest ago comes first
        self._evictable: OrderedDict[Guarded, None] = OrderedDict()  # the one idle for longest comes first
        self._holding: OrderedDict[Guarded, None] = OrderedDict()  # for whom something is held, the longest first
        self._stalled = Stalled(self.budget)
        self._peers: defaultdict[str, dict[Guarded, None]] = defaultdict(dict)
        self._looking = False
        self._letting_go = False

    def __len__(self) -> int:
        return len(self._records)

    def admit(self, client: Guarded, peername: Any) -> None:
        """Guard a new connection of this peer, a socket's address; or drop it where there is no place for it."""
        loop = asyncio.get_running_loop()
        if not self._looking:
            self._looking = True
            loop.call_later(SLICE_SECONDS, self._look)
        peer = str(peername[0]) if isinstance(peername, tuple) else ""
        if not self._make_room(peer):
            self._drop(client, "refused")
            return
        self._records[client] = _Record(peer, _NEW, loop.time())
        self._evictable[client] = None
        if peer:
            self._peers[peer][client] = None

    def leave(self, client: Guarded) -> None:
        """The connection has ended."""
        record = self._records.pop(client, None)
        if record is None:
            return
        self._evictable.pop(client, None)
        self._holding.pop(client, None)
        self._stalled.leave(client)
        self.budget.held -= record.held
        if record.peer:
            of_peer = self._peers[record.peer]
            del of_peer[client]
            if not of_peer:
                del self._peers[record.peer]

    def unheard(self) -> bool:
        """Whether there is a client that has connected and not said anything so far."""
        return any(client.waiting() == _NEW for client in self._records)

    def hold(self, client: Guarded, size: int, claimed: int = 0) -> None:
        """Note how many bytes are held for a client now: of what it has sent without an end, or does not read.

        `claimed` are further bytes that it does not read, for which claims of the budget exist already.
        """
        record, budget = self._records.get(client), self.budget
        if record is None:
            return
        more = size - record.held
        budget.held += more
        record.held = size
        if not size and not claimed:
            self._holding.pop(client, None)
            self._stalled.resume(client)
            return
        self._holding[client] = None
        if budget.pressed or (more > 0 and size > READ_FREELY):
            self._stalled.stall(client)
        while budget.exceeded:
            self._drop_for_memory(next(each for each in self._holding if self._records[each].held))

    def _drop_for_memory(self, client: Guarded) -> None:
        self.leave(client)
        self._drop(client, "memory")

    def _ease(self, now: float) -> None:
        """Let clients go on that wait for memory, as far as there is some now; or close others, to have some."""
        self._stalled.go_on()
        self.budget.grant()
        if not self._letting_go:
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """Make memory: close a few clients that are late; before the next ones are closed, others have their turn."""
        late = (client for client in self._holding if self._is_late(client, now))
        going = list(islice(late, FREE_TOGETHER)) if self._is_short else []
        self._letting_go = bool(going)
        for client in going:
            if self._is_short:
                self._drop_for_memory(client)
        if going:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._let_go, now)

    @property
    def _is_short(self) -> bool:
        """Whether somebody waits for memory, to be given it or to be read from."""
        return self.budget.waited_for or (bool(self._stalled) and self.budget.pressed)

    def _is_late(self, client: Guarded, now: float) -> bool:
        """Whether the client owes something, and has sent and read nothing for PRESSED_SECONDS."""
        record = self._records[client]
        return record.waiting[0] != "nothing" and now - record.since >= PRESSED_SECONDS

    def _make_room(self, peer: str) -> bool:
        """Whether there is a place for another connection of this peer, now at least."""
        limits = self._limits
        if peer and limits.per_peer and len(self._peers.get(peer, ())) >= limits.per_peer:
            idle = [client for client in self._peers[peer] if self._is_evictable(client)]
            if not idle:
                return False
            self._evict(min(idle, key=lambda client: self._records[client].since))
        if limits.most and len(self._records) >= limits.most:
            while self._evictable:
                client = next(iter(self._evictable))
                if self._is_evictable(client):
                    self._evict(client)
                    return True
                del self._evictable[client]  # it has been asked for something since: it is noted at the next look
            return False
        return True

    def _is_evictable(self, client: Guarded) -> bool:
        """Whether it still owes what it did when it was looked at."""
        return client in self._evictable and client.waiting() == self._records[client].waiting

    def _evict(self, client: Guarded) -> None:
        self.leave(client)
        self._drop(client, "evicted")

    def _drop(self, client: Guarded, reason: Reason) -> None:
        self.closed[reason] += 1
        client.drop(reason)

    def _look(self) -> None:
        """Look at a part of the connections."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        try:
            self._look_on(-(-len(self._records) // SLICES), now)
            self._ease(now)
            self._closings.tell(now)
        finally:
            self._looking = bool(self._records) or self._closings.untold
            if self._looking:
                loop.call_later(SLICE_SECONDS, self._look)

    def _look_on(self, count: int, now: float) -> None:
        """Look at so many of them, and let others have their turn after a few."""
        for _ in range(min(count, CLOSE_TOGETHER, len(self._records))):
            client = next(iter(self._records))
            self._records.move_to_end(client)
            self._look_at(client, now)
        if count > CLOSE_TOGETHER:
            asyncio.get_running_loop().call_soon(self._look_on, count - CLOSE_TOGETHER, now)

    def _look_at(self, client: Guarded, now: float) -> None:
        record = self._records[client]
        client.look()
        waiting = client.waiting()
        owed, _ = waiting
        if waiting != record.waiting:
            record.waiting, record.since = waiting, now
            self._evictable.pop(client, None)
            if owed in _EVICTABLE:
                self._evictable[client] = None
        elif owed == "nothing" or owed == "listens":  # noqa: PLR1714 - by a set mypy would not know what is left
            return
        elif now - record.since >= self._limits.seconds(owed):
            record.since = now
            self._drop(client, owed)
