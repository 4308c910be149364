"""Replies of the router's Redis port that are made of the values of a few keys, or of many."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from ringkv.cluster.errors import InvalidKey, RingkvError, ShardUnavailable, TooManyRequests
from ringkv.cluster.position import canonical, is_canonical
from ringkv.resp import codec
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.transaction import ATTEMPTS
from ringkv.router.lookup.batch import Batch, Values, complete, fetch
from ringkv.router.lookup.lookup import Lookup, Lookups, Reply
from ringkv.router.lookup.whole import Large, Whole
from ringkv.router.policy import FEW_KEYS, MGET_REPLY, WINDOW_BYTES, WINDOW_KEYS


def _too_large() -> bytes:
    return codec.error("ERR", f"these values have more than {MGET_REPLY} bytes: ask for fewer keys at once")


Encode = Callable[[Values], bytes]
"""From the values of the keys, in their order, to the bytes of the reply."""


def unavailable(outcome: RingkvError) -> bytes:
    """The error reply whose first word makes a client wait and try again by itself.

    Clients of Redis Cluster do that on either word (redis-py, ioredis), and go-redis does in any mode. On LOADING
    redis-py would close the connection, and lose the other replies that are on their way there.
    """
    return codec.error("TRYAGAIN" if isinstance(outcome, TooManyRequests) else "CLUSTERDOWN", str(outcome))


def key_of(arg: bytes) -> bytes | None:
    """The canonical key, None where there cannot be one: as in Redis, no key is wrong, it just does not exist."""
    if is_canonical(arg):
        return arg
    try:
        return canonical(arg)
    except InvalidKey:
        return None


class FewKeys(Pending):
    """The reply to a command about a few keys, each looked up by itself, all answered of one dataset.

    Large values are asked for when its turn has come, under one claim.
    """

    __slots__ = ("_attempts", "_encode", "_keys", "_left", "_lookups", "_started", "_values", "_whole", "stuck")

    def __init__(self, notify: Callable[[], None], lookups: Lookups, encode: Encode) -> None:
        super().__init__(notify)
        self._lookups = lookups
        self._encode = encode
        self._keys: Sequence[bytes | None] = []
        self._values: list[bytes | Large | None] = []
        self._started: list[Lookup] = []
        self._attempts = 0
        self._left = 0
        self._whole: Whole | None = None
        self.stuck = False

    def start(self, keys: Sequence[bytes | None]) -> bytes | Pending:
        """Look the keys up. What it returns is the reply: this one, unless it is known at once."""
        self._keys = keys
        self._values = [None] * len(keys)
        self._started = []
        self._attempts += 1
        for place, key in enumerate(keys):
            if key is not None:
                lookup = self._lookups.start(key, partial(self._take, place))
                if lookup is None:
                    self.abandon()
                    return unavailable(self._lookups.too_many())
                self._started.append(lookup)
        self._left = len(self._started)
        return self if self._left else self._encode([None] * len(keys))

    def known(self, keys: Sequence[bytes | None], values: Sequence[bytes | Large | None]) -> Pending:
        """Go on with what is known of the keys, at least one of them as the size of its value alone."""
        self._keys, self._values = keys, list(values)
        self.stuck = True
        return self

    def turn(self, *, waits: bool = True) -> None:
        if not self.stuck or self._whole is not None:
            return
        keys = [key for key, value in zip(self._keys, self._values, strict=True) if key and isinstance(value, Large)]
        large = [value for value in self._values if isinstance(value, Large)]
        if sum(each.size for each in large) > MGET_REPLY:
            self.answer(_too_large())
            return
        self._whole = Whole(self._lookups, keys, large, self._take_whole, waits=waits)

    def answer(self, reply: bytes) -> None:
        self.stuck = False
        self._values = []
        super().answer(reply)

    def abandon(self) -> None:
        for lookup in self._started:
            lookup.abandon()
        if self._whole is not None:
            self._whole.abandon()
        super().abandon()

    def _take(self, place: int, outcome: Reply) -> None:
        if isinstance(outcome, ShardUnavailable):
            self.abandon()
            self.answer(unavailable(outcome))
            return
        self._values[place] = outcome
        self._left -= 1
        if self._left:
            return
        if len({lookup.dataset_id for lookup in self._started}) == 1:
            self._all_known()
        elif self._attempts == ATTEMPTS:
            self.answer(unavailable(ShardUnavailable("the dataset was replaced again and again; try again later")))
        else:
            reply = self.start(self._keys)
            if isinstance(reply, bytes):
                self.answer(reply)

    def _all_known(self) -> None:
        values = [value for value in self._values if not isinstance(value, Large)]
        if len(values) == len(self._values):
            self.answer(self._encode(values))
        else:
            self.stuck = True
            self.notify()

    def _take_whole(self, whole: Whole) -> None:
        self.claims = (whole.claim,)
        found = iter(whole.values)
        values: Values = []
        for value in self._values:
            got = next(found) if isinstance(value, Large) else value
            if isinstance(got, ShardUnavailable):
                self.release()
                self.answer(unavailable(got))
                return
            assert not isinstance(got, Large)
            values.append(got)
        whole.values = []
        self.answer(self._encode(values))


class ManyKeys(Awaited):
    """The reply to a command about more than FEW_KEYS keys, read in batches, large values under one claim."""

    __slots__ = ("_encode", "_lookups", "_turn", "stuck")

    def __init__(
        self, notify: Callable[[], None], lookups: Lookups, keys: Sequence[bytes | None], encode: Encode
    ) -> None:
        self._lookups = lookups
        self._encode = encode
        self._turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.stuck = False
        super().__init__(notify, self._reply(keys))

    def turn(self, *, waits: bool = True) -> None:
        if not self._turn.done():
            self._turn.set_result(waits)

    async def _reply(self, keys: Sequence[bytes | None]) -> bytes:
        try:
            return await self._read_all(keys)
        except ShardUnavailable as error:
            self.release()
            return unavailable(error)

    async def _read_all(self, keys: Sequence[bytes | None]) -> bytes:
        """The reply made of all values, which are of one dataset. Raises ShardUnavailable."""
        lookups = self._lookups
        wanted = [key for key in keys if key is not None]
        found = Batch("", [], {})
        size, window = 0, _first_window(lookups)
        while (done := len(found.values)) < len(wanted):
            batch = await fetch(lookups, wanted[done : done + window], WINDOW_BYTES, found.dataset_id or None)
            large = {done + place: value for place, value in batch.large.items()}
            found = Batch(batch.dataset_id, found.values + batch.values, found.large | large)
            size += batch.size
            if size > MGET_REPLY:
                return _too_large()
            window = max(1, min(WINDOW_BYTES * len(batch.values) // (batch.size + 1), 2 * window, WINDOW_KEYS))
        if found.large:
            self.stuck = True
            self.notify()
            if claim := await complete(lookups, wanted, found, waits=await self._turn):
                self.claims = (claim,)
            self.stuck = False
        values = iter(found.values)
        return self._encode([None if key is None else next(values) for key in keys])


def _first_window(lookups: Lookups) -> int:
    """How many keys to begin with, by the mean size of this dataset's values."""
    topology = lookups.topology
    if topology is None:
        return FEW_KEYS
    leased = topology.leased.values()
    keys, size = sum(held.keys for held in leased), sum(held.bytes for held in leased)
    return max(1, min(WINDOW_BYTES * keys // (size + 1), WINDOW_KEYS))
