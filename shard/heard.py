"""Which datasets routers serve, as their heartbeats say: a shard offers them for as long, whatever is newer.

    router ── HEARTBEAT <dataset> ──► heard ──► offered (`shard.following`), told to routers that start (INFO)

The gates of routers may refuse what is newer. Where no router is left, what was told last counts: the next one begins
with it, and so has something to compare the newest version with.
"""

from typing import Final

MOST: Final = 4
"""Datasets that are remembered as served by routers, at most, the latest ones: each of them is held open."""


class Heard:
    def __init__(self) -> None:
        self._served: dict[object, str] = {}  # by router, the latest to have gone over last
        self._last = ""

    @property
    def latest(self) -> str:
        """The dataset to which a router has gone over last, "" if none has told any."""
        return next(iter(self.datasets), "")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that are served, the latest to be gone over to first."""
        return tuple(dict.fromkeys(reversed(self._served.values())))[:MOST] or ((self._last,) if self._last else ())

    def hear(self, router: object, dataset: str) -> None:
        """A router serves this dataset, or none: ""."""
        if self._served.get(router, "") == dataset:
            return
        self._served.pop(router, None)
        if dataset:
            self._served[router] = self._last = dataset

    def gone(self, router: object) -> None:
        """The connection of a router has ended."""
        self._served.pop(router, None)
