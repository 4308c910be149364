"""Replies of the router's Redis port that are made of the values of a few keys, or of many."""

from collections.abc import Callable, Sequence
from functools import partial

from ringkv.cluster.errors import InvalidKey, RingkvError, ShardUnavailable, TooManyRequests
from ringkv.cluster.position import canonical, is_canonical
from ringkv.resp import codec
from ringkv.resp.pending import Pending
from ringkv.resp.session import ATTEMPTS
from ringkv.router.lookup.batch import Values, fetch
from ringkv.router.lookup.ledger import too_many
from ringkv.router.lookup.lookup import Lookup, Lookups, Reply
from ringkv.router.policy import FEW_KEYS, MGET_REPLY, WINDOW_BYTES, WINDOW_KEYS

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
    """The reply to a command about at most FEW_KEYS keys, each looked up by itself, all answered of one dataset.

    `_of_hot` is the dataset of those that need no lookup, if there are any.
    """

    __slots__ = ("_attempts", "_encode", "_keys", "_left", "_lookups", "_of_hot", "_started", "_values")

    def __init__(self, notify: Callable[[], None], lookups: Lookups, encode: Encode) -> None:
        super().__init__(notify)
        self._lookups = lookups
        self._encode = encode
        self._keys: Sequence[bytes | None] = []
        self._values: Values = []
        self._started: list[Lookup] = []
        self._of_hot: str | None = None
        self._attempts = 0
        self._left = 0

    def start(self, keys: Sequence[bytes | None]) -> bytes | Pending:
        """Look the keys up. What it returns is the reply: this one, unless it is known at once."""
        self._keys = keys
        self._values = [None] * len(keys)
        self._started = []
        self._of_hot = None
        self._attempts += 1
        hot = self._lookups.hot
        for place, key in enumerate(keys):
            if key is not None:
                value = hot.find(key)
                if value is not None:
                    self._values[place], self._of_hot = value, hot.dataset_id
                    continue
                lookup = self._lookups.start(key, partial(self._take, place))
                if lookup is None:
                    self.abandon()
                    return unavailable(too_many())
                self._started.append(lookup)
        self._left = len(self._started)
        return self if self._left else self._encode(self._values)

    def abandon(self) -> None:
        for lookup in self._started:
            lookup.abandon()

    def _take(self, place: int, outcome: Reply) -> None:
        if isinstance(outcome, ShardUnavailable):
            self.abandon()
            self.answer(unavailable(outcome))
            return
        self._values[place] = outcome
        self._left -= 1
        if self._left:
            return
        datasets = {lookup.dataset_id for lookup in self._started}
        if self._of_hot is not None:
            datasets.add(self._of_hot)
        if len(datasets) == 1:
            self.answer(self._encode(self._values))
        elif self._attempts == ATTEMPTS:
            self.answer(unavailable(ShardUnavailable("the dataset was replaced again and again; try again later")))
        else:
            reply = self.start(self._keys)
            if isinstance(reply, bytes):
                self.answer(reply)


async def many_keys(lookups: Lookups, keys: Sequence[bytes | None], encode: Encode) -> bytes:
    """The reply to a command about more than FEW_KEYS keys, read in batches."""
    try:
        return await _read_all(lookups, keys, encode)
    except ShardUnavailable as error:
        return unavailable(error)


async def _read_all(lookups: Lookups, keys: Sequence[bytes | None], encode: Encode) -> bytes:
    """The reply made of all values, which are of one dataset. Raises ShardUnavailable."""
    wanted = [key for key in keys if key is not None]
    values: Values = []
    dataset_id = None
    size, window = 0, _first_window(lookups)
    while len(values) < len(wanted):
        batch = await fetch(lookups, wanted[len(values) : len(values) + window], WINDOW_BYTES, dataset_id)
        dataset_id = batch.dataset_id
        values += batch.values
        got = sum(len(value) for value in batch.values if value is not None)
        size += got
        if size > MGET_REPLY:
            return codec.error("ERR", f"these values have more than {MGET_REPLY} bytes: ask for fewer keys at once")
        window = max(1, min(WINDOW_BYTES * len(batch.values) // (got + 1), 2 * window, WINDOW_KEYS))
    found = iter(values)
    return encode([None if key is None else next(found) for key in keys])


def _first_window(lookups: Lookups) -> int:
    """How many keys to begin with, by the mean size of this dataset's values."""
    topology = lookups.topology
    if topology is None:
        return FEW_KEYS
    leased = topology.leased.values()
    keys, size = sum(held.keys for held in leased), sum(held.bytes for held in leased)
    return max(1, min(WINDOW_BYTES * keys // (size + 1), WINDOW_KEYS))
