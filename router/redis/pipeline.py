"""GETs of one client that arrived together: GETs to each shard, in one piece, instead of a lookup for each key.

    GET GET GET … ──► by owner ──► GETs on each link ──► replies in the order of the requests, in one piece
           │ hot                       │ lost, refused, odd, not answered in time
           ▼                           ▼
        known at once              lookups of just those keys (router/lookup/lookup.py)

Like a batch (router/lookup/batch.py) a pipeline leaves retries, hedges and deadlines to lookups. It has fewer keys, and
so needs no task and does not wait for a turn. It costs the router less than a lookup for each key; a shard answers all
GETs that come in one turn of the loop, whoever asks them, more quickly than an MGET of a few keys for each pipeline. A
GET that arrives alone is a lookup. A large value among them is read when all before it is sent, and sent by itself.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

from ringkv.cluster.errors import ShardUnavailable
from ringkv.cluster.position import are_canonical
from ringkv.cluster.told import are_values, is_value
from ringkv.resp import codec
from ringkv.resp.pending import Pending
from ringkv.router.lookup.batch import places_by_link
from ringkv.router.lookup.large import Large, LargeLookup
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.lookup import Found, Lookup, Reply
from ringkv.router.lookup.unanswered import too_many
from ringkv.router.redis.replies import key_of
from ringkv.router.redis.unavailable import unavailable
from ringkv.router.redis.whole import Client, Whole, larges_of


class Pipeline(Pending):
    """The replies to GETs. `keys` are their keys as they came; until `send` others may be added."""

    __slots__ = (
        "_client",
        "_found",
        "_left",
        "_lookups",
        "_null",
        "_parts",
        "_reading",
        "_started",
        "keys",
    )

    def __init__(self, client: Client, keys: list[bytes]) -> None:
        super().__init__(client.notify)
        self._client = client
        self._lookups = client.lookups
        self._null = client.null
        self.keys = keys
        self._found: list[Found] = []
        self._reading: LargeLookup | Whole | None = None
        self._left = 0  # replies that are not known yet
        self._parts: list[_Part] = []
        self._started: list[Lookup] = []

    def send(self) -> None:
        """Ask the shards."""
        lookups, keys = self._lookups, self.keys
        self.count = self._left = count = len(keys)
        self._found = [None] * count
        if not are_canonical(keys):
            found = [key_of(key) for key in keys]
            if None in found:
                self._look_up_some(found)
                return
            self.keys = keys = [key for key in found if key]
        topology = lookups.topology
        if count == 1 or topology is None:
            self._look_up(range(count))
            return
        if not lookups.has_room(count):
            self.answer(unavailable(too_many()) * count)
            return
        lookups.sample.take_some(keys)
        cold = self._take_hot()
        if not cold:
            return
        by_link, nobodys = places_by_link(topology, keys if len(cold) == count else [keys[place] for place in cold])
        self._look_up(cold[at] for at in nobodys)
        now, patience = time.monotonic(), self._client.patience
        for link, asked in by_link.items():
            places = asked if len(cold) == count else [cold[at] for at in asked]
            if len(places) == 1:
                self._look_up(places)
            else:
                lookups.begin(len(places))
                part = _Part(self, places, now)
                self._parts.append(part)
                link.gets([keys[place] for place in places], part)
                patience.watch(part)

    @property
    def held(self) -> int:
        return len(self.reply or b"") or sum(len(value) for value in self._found if isinstance(value, bytes))

    def turn(self) -> None:
        """Send what is known up to the next large value, then read and send that, a window at a time."""
        if isinstance(self._reading, LargeLookup):
            self._reading.go_on()
        if self._left or self._reading is not None or self.reply is not None:
            return
        found = self._found
        at = next((at for at, value in enumerate(found) if isinstance(value, Large)), None)
        if at is None:
            self._end_with(self._replies(found))
            return
        self._client.send(self._replies(found[:at]))
        del found[:at]
        self._reading = LargeLookup(self._lookups, cast("Large", found[0]), self._send_large)

    def abandon(self) -> None:
        if self._reading is not None:
            self._reading.abandon()
        for lookup in self._started:
            lookup.abandon()
        for part in self._parts:
            if part.pipeline is not None:
                part.pipeline = None
                self._lookups.end_abandoned(len(part.places))
        self._end()

    def answered(self, part: "_Part", replies: list[Any], link: Link) -> None:
        """Take the values of a part, and look up those of its keys for which the shard has none to give."""
        places, values, refused = part.places, replies, []
        part.pipeline = None
        if not are_values(replies, len(places)):
            refused = [place for place, reply in zip(places, replies, strict=True) if not is_value(reply)]
            places = [place for place, reply in zip(places, replies, strict=True) if is_value(reply)]
            values = [reply for reply in replies if is_value(reply)]
        found = self._found
        for place, value in zip(places, values, strict=True):
            found[place] = value
        self._lookups.end(values, time.monotonic() - part.started, link.durations)
        self._lookups.hot.look_at_some(self.keys, places, values, link.dataset_id)
        self._known(len(values))
        if refused:
            self._lookups.end_unanswered(len(refused))
            self._look_up(refused)

    def failed(self, part: "_Part") -> None:
        """Look the keys of a part up one by one."""
        part.pipeline = None
        self._lookups.end_unanswered(len(part.places))
        self._look_up(part.places)

    def _take_hot(self) -> Sequence[int]:
        """Take the values that the router has kept as hot; returns the places of the other keys."""
        hot, every = self._lookups.hot, range(len(self.keys))
        if not hot:
            return every
        found: list[Found] = [*hot.find_some(self.keys)]
        cold = found.count(None)
        if cold == len(found):
            return every
        self._found = found
        places = [place for place, value in enumerate(found) if value is None]
        self._known(len(found) - cold)
        return places

    def _look_up_some(self, keys: list[bytes | None]) -> None:
        """Look the keys up one by one. Those that are None are no canonical keys, and so have no value."""
        for place, key in enumerate(keys):
            if key is None:
                self._take(place, None)
            else:
                self.keys[place] = key
                self._look_up([place])

    def _look_up(self, places: Iterable[int]) -> None:
        for place in places:
            value = self._lookups.hot.find(self.keys[place])
            if value is not None:
                self._take(place, value)
                continue
            lookup = self._lookups.start(self.keys[place], partial(self._take, place))
            if lookup is None:
                self._take(place, too_many())
            else:
                self._started.append(lookup)

    def _take(self, place: int, outcome: Found) -> None:
        self._found[place] = outcome
        self._known(1)

    def _known(self, count: int) -> None:
        self._left -= count
        if self._left:
            return
        if Large in map(type, self._found):
            self._read_large()
        else:
            self._end_with(self._replies(self._found))

    def _replies(self, found: list[Found]) -> bytes:
        """The replies with what was found, none of which is large."""
        if are_values(found, len(found)):
            return codec.bulks(cast("list[bytes | None]", found), self._null)
        return b"".join(
            [
                unavailable(value) if isinstance(value, ShardUnavailable) else codec.bulks([value], self._null)
                for value in cast("list[Reply]", found)
            ]
        )

    def _end_with(self, reply: bytes) -> None:
        self._end()
        self.answer(reply)

    def _read_large(self) -> None:
        """Have large values read: one by one in their turns, or all together if this is a part of another reply."""
        if self._client.has(self):
            self.notify()
        else:
            self._reading = Whole(
                self._client, larges_of(cast("list[bytes | Large | None]", self._found)), self._take_whole, keep=True
            )

    def _send_large(self, outcome: list[bytes] | ShardUnavailable) -> None:
        """Send a window of the first of the replies that are left; or, where none of it was sent, why there is none."""
        reading, client = cast("LargeLookup", self._reading), self._client
        if isinstance(outcome, ShardUnavailable):
            if reading.begun:
                client.abort()
                return
            client.send(unavailable(outcome))
        else:
            if not reading.begun:
                client.keep([reading.claim])
                client.send(b"$%d\r\n" % reading.size)
            for piece in outcome:
                client.send(piece)
            if reading.left:
                self.notify()
                return
            client.send(b"\r\n")
            client.about_to_send([reading.claim])
        self._reading = None
        del self._found[0]
        self.notify()

    def _take_whole(self, found: dict[int, bytes] | bytes) -> None:
        if isinstance(found, bytes):
            self._end_with(self.count * found)
            return
        for place, value in found.items():
            self._found[place] = value
        self._end_with(self._replies(self._found))

    def _end(self) -> None:
        """Let go of what refers to this reply, and of what it has read: both would stay until the next collection."""
        self._found, self._parts, self._started, self._reading = [], [], [], None


class _Part:
    """The keys that one link was asked for; `pipeline` is None once that does not wait for them any more."""

    __slots__ = ("pipeline", "places", "started")

    def __init__(self, pipeline: Pipeline, places: list[int], started: float) -> None:
        self.pipeline: Pipeline | None = pipeline
        self.places = places
        self.started = started

    def answered(self, reply: Any, link: Link) -> None:
        if self.pipeline is not None:
            self.pipeline.answered(self, reply, link)

    def lost(self, _link: Link) -> None:
        self.hurry()

    @property
    def done(self) -> bool:
        return self.pipeline is None

    def hurry(self) -> None:
        """Go on with lookups, which hedge and retry."""
        if self.pipeline is not None:
            self.pipeline.failed(self)
