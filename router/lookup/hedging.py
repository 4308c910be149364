"""When to ask a second owner although the first may still answer, and how often that is allowed.

Source: Dean, Barroso, "The Tail at Scale", 2013: hedged requests.
"""

from collections.abc import Iterable

from ringkv.router.lookup.durations import Durations, total
from ringkv.router.policy import (
    HEDGE_BUDGET,
    HEDGE_BURST,
    HEDGE_DELAY_MAX,
    HEDGE_DELAY_MIN,
    HEDGE_LOOK_INTERVAL,
    HEDGE_QUANTILE,
    HEDGE_SAMPLES,
)


class HedgeDelay:
    """`seconds` to wait before asking a second owner: the 99th percentile of recent replies, within bounds."""

    def __init__(self) -> None:
        self.seconds = HEDGE_DELAY_MAX
        self._before = Durations()
        self._next_look = 0.0

    def look(self, now: float, shards: Iterable[Durations]) -> None:
        """Adapt to the replies of all shards, unless that was done a moment ago."""
        if now >= self._next_look:
            self._next_look = now + HEDGE_LOOK_INTERVAL
            self.follow(total(shards))

    def follow(self, replies: Durations) -> None:
        """Adapt to `replies`, those of all time; what counts as recent is what came since the last adaptation."""
        recent = replies.since(self._before)
        if recent.count >= HEDGE_SAMPLES:
            self._before = replies
            self.seconds = min(max(recent.quantile(HEDGE_QUANTILE), HEDGE_DELAY_MIN), HEDGE_DELAY_MAX)


class HedgeBudget:
    """A token bucket, to which each request adds HEDGE_BUDGET, and from which each hedge takes 1."""

    def __init__(self) -> None:
        self._tokens = float(HEDGE_BURST)
        self._requests = 0

    def take(self, requests: int) -> bool:
        """Whether one more hedge is allowed, `requests` being the number of all requests so far."""
        earned = (requests - self._requests) * HEDGE_BUDGET
        self._requests = requests
        self._tokens = min(self._tokens + earned, HEDGE_BURST)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
