"""The last hour of a router in samples, so that the page has a past to show when it is opened.

Each sample is kept as JSON text: a few hundred bytes instead of dozens of objects, and the answer is made by joining
texts. Nothing is counted for it: a sample is the difference of two looks at the figures.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ringkv.router.figures.values import Figures
from ringkv.router.lookup.durations import Durations
from ringkv.router.policy import HISTORY_INTERVAL, HISTORY_PHASE, HISTORY_SAMPLES


class History:
    """Samples of the figures of all workers, which `look` returns."""

    def __init__(self, look: Callable[[], Figures], clock: Callable[[], float] = time.time) -> None:
        self._look = look
        self._clock = clock
        self._samples: deque[tuple[int, bytes]] = deque(maxlen=HISTORY_SAMPLES)
        self._before: tuple[float, Figures] | None = None

    async def keep(self) -> None:
        """Take samples until cancelled."""
        self.sample()
        while True:
            await asyncio.sleep(HISTORY_INTERVAL - self._clock() % HISTORY_INTERVAL + HISTORY_PHASE)
            self.sample()

    def sample(self) -> None:
        """Add a sample of what was done since the last call; the first call only begins."""
        now, figures = time.monotonic(), self._look()
        if self._before is not None:
            then, before = self._before
            at = int(self._clock())
            while self._samples and self._samples[-1][0] > at:
                self._samples.pop()  # the clock was set back: by it these have not been taken yet
            self._samples.append((at, json.dumps({"at": at, **_between(before, figures, now - then)}).encode()))
        self._before = now, figures

    def told(self, since: int = 0) -> bytes:
        """The body of `GET /history`: samples that were taken after `since`, Unix seconds, the oldest first.

        All of them, if that is later than any worker's can be: then the clock was set back.
        """
        if self._samples and since > self._samples[-1][0] + HISTORY_INTERVAL:
            since = 0
        samples = b",\n".join(text for at, text in self._samples if at > since)
        return b'{"interval": %d, "samples": [\n%b\n]}\n' % (HISTORY_INTERVAL, samples)


def _between(before: Figures, after: Figures, seconds: float) -> dict[str, Any]:
    """Rates a second, and quantiles in seconds; without those of shards that cannot be asked, or have just come."""
    earlier = {shard.name: shard.durations for shard in before.shards}
    return {
        "requests": _rate(before, after, seconds, "requests", "batched"),
        "errors": _rate(before, after, seconds, "unavailable", "refused"),
        **_quantiles(after.durations.since(before.durations)),
        "shards": {
            shard.name: {"requests": round(grown.count / seconds, 2), **_quantiles(grown)}
            for shard in after.shards
            if shard.state != "lost" and shard.name in earlier
            for grown in [shard.durations.since(earlier[shard.name])]
        },
    }


def _rate(before: Figures, after: Figures, seconds: float, *counters: str) -> float:
    return round(sum(after.counters[name] - before.counters[name] for name in counters) / seconds, 2)


def _quantiles(durations: Durations) -> dict[str, float | None]:
    if not durations.count:
        return {"p50": None, "p99": None}
    return {f"p{share}": round(durations.quantile(share / 100), 7) for share in (50, 99)}
