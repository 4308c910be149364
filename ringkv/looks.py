"""Looks at the figures of a running cluster, one in each interval, and what happened between two of them."""

import json
import time

from ringkv.activity import Activity
from ringkv.client.get import Client, UnexpectedAnswer
from ringkv.router.figures.values import Figures
from ringkv.router.lookup.durations import BOUNDS


class Looks:
    """The first look is taken at once; `interval` is in seconds. Raises ClientError, as `next` does."""

    def __init__(self, client: Client, url: str, interval: float) -> None:
        self._client = client
        self._url = url
        self._interval = interval
        self._before, self._then = self._look(), time.monotonic()
        self._tried = self._then

    def next(self) -> Activity:
        """Wait for the interval, and return what happened since the last look that succeeded."""
        time.sleep(max(0.0, self._tried + self._interval - time.monotonic()))
        try:
            after = self._look()
        finally:
            self._tried = time.monotonic()
        activity = Activity.between(self._before, after, self._tried - self._then)
        self._before, self._then = after, self._tried
        return activity

    def _look(self) -> Figures:
        try:
            found = json.loads(self._client.page("stats"))
            if tuple(found.pop("bounds")) == BOUNDS:
                return Figures.parse(found)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            pass
        raise UnexpectedAnswer(f"{self._url} does not tell its figures as a ringkv router of this version does")
