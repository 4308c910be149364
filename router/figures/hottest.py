"""The keys that are asked for most, of all workers of a router, told through files as their events are."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from heapq import nlargest
from pathlib import Path

from ringkv.router.figures.sheet import Copy, Sheet
from ringkv.router.lookup.hot import HotValues
from ringkv.router.policy import HOT_TOLD


@dataclass(frozen=True, slots=True)
class HotKey:
    """A key for which about so many `requests` were counted; `kept`: a router process has its value in memory."""

    key: str
    requests: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Hottest:
    """The keys that were asked for most in the last `seconds`, one to two minutes, the hottest first."""

    seconds: float
    keys: tuple[HotKey, ...]


class HotKeys:
    """`file` is where this worker writes its keys, `others` are the other workers' files; a single worker has none."""

    def __init__(self, hot: HotValues, file: Path | None = None, others: tuple[Path, ...] = ()) -> None:
        self._hot = hot
        self._sheet = Sheet(file) if file is not None else None
        self._others = tuple(map(Copy, others))

    def all(self) -> Hottest:
        """The hottest keys of all workers together."""
        return _together([self._own(), *map(_read, self._others)])

    def write(self) -> None:
        """Write this worker's hottest keys for the others."""
        if self._sheet is not None:
            self._sheet.write(asdict(self._own()))

    def _own(self) -> Hottest:
        hot = self._hot
        seconds, counts = hot.top.counted()
        keys = nlargest(HOT_TOLD, counts, key=counts.__getitem__)
        return Hottest(round(seconds, 1), tuple(HotKey(key.decode(), counts[key], key in hot) for key in keys))


def _together(parts: Iterable[Hottest]) -> Hottest:
    """The hottest keys of several workers: counts are added up by key."""
    seconds = 0.0
    found: dict[str, HotKey] = {}
    for part in parts:
        seconds = max(seconds, part.seconds)
        for each in part.keys:
            before = found.get(each.key, HotKey(each.key, 0, kept=False))
            found[each.key] = HotKey(each.key, before.requests + each.requests, before.kept or each.kept)
    hottest = sorted(found.values(), key=lambda each: (-each.requests, each.key))
    return Hottest(seconds, tuple(hottest[:HOT_TOLD]))


def _read(copy: Copy) -> Hottest:
    """The keys that a worker has written; none if it has not yet."""
    told = copy.read()
    if told is None:
        return Hottest(0.0, ())
    return Hottest(told["seconds"], tuple(HotKey(**each) for each in told["keys"]))
