"""Values that are asked for again and again, in the router itself: a key in the news costs its shard nothing.

    GET ─► in the dict? ─ yes ─► the answer; of some hits the key is marked as asked for lately
                │ no
                ▼
             lookup ─► answer ─► of some: was the key seen lately? ─ no ─► its fingerprint is remembered
                                               │ yes
                                               ▼
                                 counted, and kept; for room the oldest value without a mark goes

All values are of the one dataset that is served, so none can be outdated, and a swap to another one empties the dict.
Keys that are asked for evenly are hardly seen twice, so all they cost is a look into a nearly empty dict.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from math import inf
from random import random
from typing import Final

from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.top import TopKeys
from ringkv.router.policy import (
    HOT_CHANCES,
    HOT_ENTRY,
    HOT_MARKS,
    HOT_SAMPLE,
    HOT_SAMPLE_MAX,
    HOT_SEEN,
    HOT_SLOWER,
    HOT_VALUE,
)

_PLACES: Final = HOT_SEEN - 1


class HotValues:
    """At most `room` bytes of values of `dataset_id`, now `bytes`; with no room nothing is kept or counted.

    Whoever asks shards counts `skip` down by one for each answer, and calls `look` when it is below zero: this is all
    that an answer of a shard costs here. `values` are to be looked at alone, and a value is taken by `hit`.
    """

    def __init__(self, room: int, counters: Counters) -> None:
        self.dataset_id = ""
        self.bytes = 0
        self.skip: float = 0 if room else inf
        self.top = TopKeys()
        self._room = room
        self._counters = counters
        self._hits_to_skip = 0
        self._one_of: float = HOT_SAMPLE
        self.values: dict[bytes, bytes] = {}
        self._order: deque[bytes] = deque()  # the keys of the values, the oldest first
        self._marked: set[bytes] = set()  # keys that were asked for since they came or were spared last
        # Each fingerprint has one place, which others share: the latest stands there, so older ones get overwritten.
        self._seen = array("q", bytes(8 * HOT_SEEN)) if room else array("q")

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, key: bytes) -> bool:
        return key in self.values

    def find(self, key: bytes) -> bytes | None:
        """The value of a canonical key in `dataset_id`, if it is kept; then the request is counted as a hit."""
        return self.hit(key) if key in self.values else None

    def hit(self, key: bytes) -> bytes:
        """The value of a key that is among `values`; the request is counted as a hit."""
        counters = self._counters
        counters.requests += 1
        counters.hits += 1
        self._hits_to_skip -= 1
        if self._hits_to_skip < 0:
            self._hits_to_skip = _pause(HOT_MARKS)
            self._marked.add(key)
            self.top.count(key, HOT_MARKS)
        return self.values[key]

    def find_some(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `find` for each of the keys, of which hardly any are kept if they are asked for evenly."""
        found = [*map(self.values.get, keys)]
        return found if found.count(None) == len(found) else [*map(self.find, keys)]

    def look(self, key: bytes, value: object, dataset_id: str) -> None:
        """Look closely at an answer of a shard: keep the value if its key was seen lately, else remember the key.

        `value` is None if the dataset does not hold the key.
        """
        fingerprint = hash(key)  # salted by Python: nobody outside can make two keys alike
        place = fingerprint & _PLACES
        if self._seen[place] != fingerprint:
            self._seen[place] = fingerprint
            self._one_of = min(HOT_SAMPLE_MAX, HOT_SLOWER * self._one_of)
            self.skip = _pause(self._one_of)
            return
        self.top.count(key, round(self._one_of))
        self._one_of = max(HOT_SAMPLE, self._one_of / 2)
        self.skip = _pause(self._one_of)
        if (
            isinstance(value, bytes)
            and len(value) <= HOT_VALUE
            and dataset_id == self.dataset_id
            and key not in self.values
        ):
            self._keep(key, value)

    def look_at_some(
        self, keys: Sequence[bytes], places: Sequence[int], values: Sequence[bytes | None], dataset_id: str
    ) -> None:
        """As `look`, for answers that came together, to the keys at these places: some of them are looked at."""
        while self.skip < len(places):
            at = int(self.skip)
            self.look(keys[places[at]], values[at], dataset_id)
            self.skip += at + 1
        self.skip -= len(places)

    def begin(self, dataset_id: str) -> None:
        """Keep values of this dataset from now on, and drop those of any other."""
        if dataset_id != self.dataset_id:
            self.dataset_id = dataset_id
            self.bytes = 0
            self.values, self._order, self._marked = {}, deque(), set()

    def _keep(self, key: bytes, value: bytes) -> None:
        self.values[key] = value
        self._order.append(key)
        self.bytes += len(value) + HOT_ENTRY
        chances = HOT_CHANCES
        while self.bytes > self._room:
            oldest = self._order.popleft()
            if oldest in self._marked:
                self._marked.remove(oldest)
                if chances:
                    chances -= 1
                    self._order.append(oldest)
                    continue
            self.bytes -= len(self.values.pop(oldest)) + HOT_ENTRY


def _pause(one_of: float) -> int:
    """How many answers to skip until the next is looked at, at random, so that no pattern of requests escapes."""
    return int((2 * one_of - 1) * random())  # noqa: S311 - what is sampled is no secret
