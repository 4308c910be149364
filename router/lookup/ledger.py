"""How many requests a router has in flight and how each of them ended: all counting of requests happens here.

It is apart from the lookups, as batches and pipelines are counted too, but not sent by those.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from ringkv.process.budget import Budget, memory_of
from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.durations import Durations, total
from ringkv.router.lookup.unanswered import too_many
from ringkv.router.policy import BATCHES, LARGE_READS, MAX_IN_FLIGHT


class Ledger:
    """`in_flight` is how many requests were begun and have not ended.

    `near` says, by name, whether a shard that has served is in the router's zone. `budget` is that of the process, from
    which memory for large values is claimed; `large_reads` bounds how many of these are on their way at once, and
    `batches` how many batches.
    """

    def __init__(self) -> None:
        self.budget = Budget(memory_of(None))
        self.large_reads = asyncio.Semaphore(LARGE_READS)
        self.counters = Counters()
        self.in_flight = 0
        self.near: dict[str, bool] = {}
        self.shard_durations: defaultdict[str, Durations] = defaultdict(Durations)
        self.other_durations = Durations()  # of those that were sent more than once, or never answered
        self.batches = asyncio.Semaphore(BATCHES)

    def refuse(self, count: int = 1) -> None:
        """Count requests that were refused before they were begun."""
        self.counters.refused += count

    def has_room(self, count: int) -> bool:
        """Whether so many requests may be begun together; if not, they are counted as refused.

        Requests that come together take half of all places at most, so that some are left for single requests.
        """
        if self.in_flight + count <= MAX_IN_FLIGHT // 2:
            return True
        self.counters.requests += count
        self.refuse(count)
        return False

    def begin(self, count: int) -> None:
        """Count requests that are begun together. Each of them ends by one of the next three methods."""
        self.counters.requests += count
        self.in_flight += count

    def end(self, values: list[bytes | None], seconds: float, durations: Durations) -> None:
        """Count requests that were answered together, after `seconds`."""
        count = len(values)
        self.in_flight -= count
        self.counters.missing += values.count(None)
        durations.observe_all(seconds, count)

    def end_abandoned(self, count: int) -> None:
        """Count requests whose client has gone."""
        self.in_flight -= count
        self.counters.abandoned += count

    def end_unanswered(self, count: int) -> None:
        """Take back requests that are looked up one by one now, as the lookups count them again."""
        self.in_flight -= count
        self.counters.requests -= count
        self.counters.retried += count

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a batch, or what is asked for like one, as one request in flight. Raises TooManyRequests."""
        if self.in_flight >= MAX_IN_FLIGHT:
            self.refuse()
            raise too_many()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def batch(self, keys: int) -> AsyncIterator[None]:
        """Wait for one of the few turns for batches; a batch is one request in flight. Raises TooManyRequests."""
        with self.one():
            async with self.batches:
                self.counters.batched += keys
                yield

    def durations(self) -> Durations:
        """The durations of all answers so far, from the start of each lookup; a hot value's counts as 0."""
        found = total([*self.shard_durations.values(), self.other_durations])
        found.counts[0] += self.counters.hits
        return found
