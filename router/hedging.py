"""When to ask a second owner although the first may still answer, and how often that is allowed.

Source: Dean, Barroso, "The Tail at Scale", 2013: hedged requests.
"""

from router.policy import HEDGE_BUDGET, HEDGE_BURST, HEDGE_DELAY_MAX, HEDGE_DELAY_MIN


class LatencyEstimate:
    """A smoothed mean and deviation of the replies' times, in seconds, as TCP keeps them (RFC 6298)."""

    def __init__(self) -> None:
        self._mean = HEDGE_DELAY_MAX / 4
        self._deviation = HEDGE_DELAY_MAX / 4

    def observe(self, seconds: float) -> None:
        error = seconds - self._mean
        self._mean += error / 8
        self._deviation += (abs(error) - self._deviation) / 4

    @property
    def hedge_delay(self) -> float:
        """After this time a reply is so late that it may not come at all."""
        return min(max(self._mean + 4 * self._deviation, HEDGE_DELAY_MIN), HEDGE_DELAY_MAX)


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
