"""Replies of the router's Redis port to commands about several keys, a few or many."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from ringkv.cluster.errors import InvalidKey, ShardUnavailable
from ringkv.cluster.position import canonical, is_canonical
from ringkv.process.budget import Claim, lacking
from ringkv.resp.claiming import COPIES
from ringkv.resp.pending import Pending
from ringkv.resp.session import ATTEMPTS
from ringkv.router.lookup.batch import Values, fetch
from ringkv.router.lookup.large import Large, claim
from ringkv.router.lookup.lookup import Found, Lookup, Lookups
from ringkv.router.lookup.unanswered import replaced, too_many
from ringkv.router.policy import FEW_KEYS, MGET_REPLY, WINDOW_BYTES, WINDOW_KEYS
from ringkv.router.redis.unavailable import unavailable
from ringkv.router.redis.whole import Client, Whole, larges_of, too_much

Encode = Callable[[Values], bytes]
"""From the values of the keys, in their order, to the bytes of the reply."""

Tell = Callable[[Sequence[bytes | Large | None]], bytes]
"""The same, where it is enough to know of what is large how large it is."""


def key_of(arg: bytes) -> bytes | None:
    """The canonical key, None for what is no UUID version 4: as in Redis, that is no error, but does not exist."""
    if is_canonical(arg):
        return arg
    try:
        return canonical(arg)
    except InvalidKey:
        return None


class FewKeys(Pending):
    """The reply to a command about at most FEW_KEYS keys, each looked up by itself, all answered of one dataset.

    `_of_hot` is the dataset of the values that the router had kept, if there are any. Large values are read when all
    before the reply is sent.
    """

    __slots__ = (
        "_attempts",
        "_client",
        "_encode",
        "_keys",
        "_left",
        "_lookups",
        "_of_hot",
        "_reading",
        "_started",
        "_values",
        "_whole",
    )

    def __init__(self, client: Client, encode: Tell, *, whole: bool = False) -> None:
        """`encode` makes the reply; with `whole`, which `with_values` sets, all large values are read before."""
        super().__init__(client.notify)
        self._client = client
        self._lookups = client.lookups
        self._encode = encode
        self._whole = whole
        self._reading: Whole | None = None
        self._keys: Sequence[bytes | None] = []
        self._values: list[bytes | Large | None] = []
        self._started: list[Lookup] = []
        self._of_hot: str | None = None
        self._attempts = 0
        self._left = 0

    @classmethod
    def with_values(cls, client: Client, encode: Encode) -> "FewKeys":
        """A reply for which the sizes of large values are not enough."""
        return cls(client, cast("Tell", encode), whole=True)

    def start(self, keys: Sequence[bytes | None]) -> bytes | Pending:
        """Look the keys up. Returns the reply: this object, or bytes if all values are known at once."""
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

    @property
    def held(self) -> int:
        return len(self.reply or b"") or sum(len(value) for value in self._values if isinstance(value, bytes))

    def turn(self) -> None:
        """Read the large values among them."""
        if not self._left and self._reading is None and self.reply is None:
            self._read(keep=False)

    def abandon(self) -> None:
        if self._reading is not None:
            self._reading.abandon()
        for lookup in self._started:
            lookup.abandon()
        self._end()

    def _take(self, place: int, outcome: Found) -> None:
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
        if len(datasets) == 1 and self._whole and Large in map(type, self._values):
            self._read_large()
        elif len(datasets) == 1:
            self._end_with(self._encode(self._values))
        elif self._attempts == ATTEMPTS:
            self._end_with(unavailable(replaced()))
        else:
            reply = self.start(self._keys)
            if isinstance(reply, bytes):
                self.answer(reply)

    def _read_large(self) -> None:
        if self._client.has(self):
            self.notify()
        else:
            self._read(keep=True)

    def _read(self, *, keep: bool) -> None:
        self._reading = Whole(self._client, larges_of(self._values), self._take_whole, keep=keep)

    def _take_whole(self, found: dict[int, bytes] | bytes) -> None:
        if isinstance(found, bytes):
            self._end_with(found)
            return
        for place, value in found.items():
            self._values[place] = value
        self._end_with(self._encode(self._values))

    def _end_with(self, reply: bytes) -> None:
        self._end()
        self.answer(reply)

    def _end(self) -> None:
        """Let go of what refers to this reply, and of what it has read: both would stay until the next collection."""
        self._values, self._started, self._reading = [], [], None


async def many_keys(client: Client, keys: Sequence[bytes | None], encode: Encode) -> bytes:
    """The reply to a command about more than FEW_KEYS keys, read in batches, which are of one dataset."""
    lookups = client.lookups
    wanted = [key for key in keys if key is not None]
    values: Values = []
    dataset_id = None
    size, window = 0, _first_window(lookups)
    claims: list[Claim] = []
    try:
        while len(values) < len(wanted):
            batch = await fetch(lookups, wanted[len(values) : len(values) + window], WINDOW_BYTES, dataset_id)
            dataset_id = batch.dataset_id
            claims += batch.claims
            values += batch.values
            got = sum(len(value) for value in batch.values if value is not None)
            size += got
            missing = lacking(COPIES * size, claims)
            most = min(MGET_REPLY, lookups.budget.most // COPIES) if missing else MGET_REPLY
            if size > most:
                return too_much(most)
            if missing:
                client.make(size)
                claims.append(await claim(lookups, missing))
            window = max(1, min(WINDOW_BYTES * len(batch.values) // (got + 1), 2 * window, WINDOW_KEYS))
        found = iter(values)
        return encode([None if key is None else next(found) for key in keys])
    except ShardUnavailable as error:
        return unavailable(error)
    finally:
        client.make(0)
        client.about_to_send(claims)


def _first_window(lookups: Lookups) -> int:
    """How many keys to begin with, by the mean size of this dataset's values."""
    topology = lookups.topology
    if topology is None:
        return FEW_KEYS
    leased = topology.leased.values()
    keys, size = sum(held.keys for held in leased), sum(held.bytes for held in leased)
    return max(1, min(WINDOW_BYTES * keys // (size + 1), WINDOW_KEYS))
