"""Replies of the router's Redis port that are made of the values of a few keys, or of many."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cluster import resp
from cluster.errors import InvalidKey, ShardUnavailable
from cluster.pending import Pending
from cluster.position import canonical, is_canonical
from router.batch import fetch
from router.lookup import TOO_MANY, Lookup, Lookups, Reply
from router.policy import WINDOW_BYTES, WINDOW_KEYS

log = logging.getLogger("ringkv.router")

Values = list[bytes | None]
Encode = Callable[[Values], bytes]
"""From the values of the keys, in their order, to the bytes of the reply."""

FEW: Final = 16
"""Up to so many keys are looked up one by one: a batch costs more, and waits for its turn behind other batches."""

MAX_REPLY: Final = 128 << 20
"""Bytes of the values of one MGET, which are held whole: two of the largest values."""


def unavailable(outcome: ShardUnavailable) -> bytes:
    """The error by which clients know what to do.

    Those of Redis Cluster wait and try again by themselves on either word (redis-py, ioredis), and go-redis does
    in any mode. LOADING would make redis-py close the connection, with all else that is on its way there.
    """
    return resp.error("TRYAGAIN" if str(outcome) == str(TOO_MANY) else "CLUSTERDOWN", str(outcome))


def key_of(arg: bytes) -> bytes | None:
    """The canonical key, None where there cannot be one: as in Redis, no key is wrong, it just does not exist."""
    if is_canonical(arg):
        return arg
    try:
        return canonical(arg)
    except InvalidKey:
        return None


def dataset_of(lookups: Lookups) -> str | None:
    """What is served now."""
    return lookups.topology.dataset_id if lookups.topology else None


def replaced(before: str | None, now: str | None) -> ShardUnavailable:
    """Why values that were read one after the other are no answer."""
    return ShardUnavailable(f"dataset {before} was replaced by {now} meanwhile; try again")


class FewKeys(Pending):
    """The reply to a command about at most FEW keys, each looked up by itself."""

    __slots__ = ("_dataset_id", "_encode", "_left", "_lookups", "_started", "_values")

    def __init__(self, notify: Callable[[], None], lookups: Lookups, encode: Encode) -> None:
        super().__init__(notify)
        self._lookups = lookups
        self._dataset_id = dataset_of(lookups)
        self._encode = encode
        self._values: Values = []
        self._started: list[Lookup] = []
        self._left = 0

    def start(self, keys: Sequence[bytes | None]) -> bytes | Pending:
        """Look the keys up. What it returns is the reply: this one, unless it is known at once."""
        self._values = [None] * len(keys)
        for place, key in enumerate(keys):
            if key is not None:
                lookup = self._lookups.start(key, partial(self._take, place))
                if lookup is None:
                    self.abandon()
                    return unavailable(TOO_MANY)
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
        now = dataset_of(self._lookups)
        if len(self._values) > 1 and self._dataset_id not in {None, now}:
            self.answer(unavailable(replaced(self._dataset_id, now)))
        else:
            self.answer(self._encode(self._values))


class ManyKeys(Pending):
    """The reply to a command about more than FEW keys, read in batches; nothing else is begun before it is there."""

    __slots__ = ("_task",)

    blocks = True

    def __init__(
        self, notify: Callable[[], None], lookups: Lookups, keys: Sequence[bytes | None], encode: Encode
    ) -> None:
        super().__init__(notify)
        self._task = asyncio.create_task(self._read(lookups, keys, encode))

    def abandon(self) -> None:
        self._task.cancel()

    async def _read(self, lookups: Lookups, keys: Sequence[bytes | None], encode: Encode) -> None:
        try:
            reply = await _read_all(lookups, keys, encode)
        except ShardUnavailable as error:
            reply = unavailable(error)
        except Exception as error:
            log.exception("a reply could not be made")
            reply = resp.error("ERR", str(error) or type(error).__name__)
        self.answer(reply)


async def _read_all(lookups: Lookups, keys: Sequence[bytes | None], encode: Encode) -> bytes:
    """The reply made of all values, which are of one dataset. Raises ShardUnavailable."""
    wanted = [key for key in keys if key is not None]
    values: Values = []
    dataset_id = None
    size, window = 0, _first_window(lookups)
    while len(values) < len(wanted):
        batch = await fetch(lookups, wanted[len(values) : len(values) + window], WINDOW_BYTES)
        if dataset_id not in {None, batch.dataset_id}:
            raise replaced(dataset_id, batch.dataset_id)
        dataset_id = batch.dataset_id
        values += batch.values
        got = sum(len(value) for value in batch.values if value is not None)
        size += got
        if size > MAX_REPLY:
            return resp.error("ERR", f"these values have more than {MAX_REPLY} bytes: ask for fewer keys at once")
        window = max(1, min(WINDOW_BYTES * len(batch.values) // (got + 1), 2 * window, WINDOW_KEYS))
    found = iter(values)
    return encode([None if key is None else next(found) for key in keys])


def _first_window(lookups: Lookups) -> int:
    """How many keys to begin with, by the mean size of this dataset's values."""
    topology = lookups.topology
    if topology is None:
        return FEW
    leased = topology.leased.values()
    keys, size = sum(held.keys for held in leased), sum(held.bytes for held in leased)
    return max(1, min(WINDOW_BYTES * keys // (size + 1), WINDOW_KEYS))
