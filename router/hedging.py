"""When to ask a second owner although the first may still answer, and how often that is allowed.

Source: Dean, Barroso, "The Tail at Scale", 2013: hedged requests.
"""

from router.durations import Durations
from router.policy import HEDGE_BUDGET, HEDGE_BURST, HEDGE_DELAY_MAX, HEDGE_DELAY_MIN, HEDGE_QUANTILE, HEDGE_SAMPLES


class HedgeDelay:
    """`seconds` after which a reply is later than nearly all of late, so that it may not come at all."""

    def __init__(self) -> None:
        self.seconds = HEDGE_DELAY_MAX
        self._before = Durations()

    def follow(self, replies: Durations) -> None:
        """Look at the times of all replies so far, those since the last look being the recent ones."""
        recent = replies.since(self._before)
        if recent.count >= HEDGE_SAMPLES:
            self._before = replies
            self.seconds = min(max(recent.quantile(HEDGE_QUANTILE), HEDGE_DELAY_MIN), HEDGE_DELAY_MAX)


class HedgeBudget:
    """A token bucket that every request fills by HEDGE_BUDGET."""

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
