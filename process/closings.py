"""The connections that a process has closed of its own accord: counted by reason, and logged, however many they are."""

import logging
from typing import Final, Literal

log = logging.getLogger("ringkv.process")

Reason = Literal["header", "idle", "body", "send", "evicted", "refused", "memory"]
"""Why a connection is closed: it kept the process waiting (the first four), another one took its place, there was no
place for it, or memory is short."""

REASONS: Final[tuple[Reason, ...]] = ("header", "idle", "body", "send", "evicted", "refused", "memory")

TELL_SECONDS: Final = 1.0
"""Between two lines of the log, at least: under attack there would be thousands."""


class Closings:
    """`counts` by reason."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._told = dict(self.counts)
        self._told_at = float("-inf")

    @property
    def untold(self) -> bool:
        """Whether some were closed since that was logged."""
        return self._told != self.counts

    def tell(self, now: float) -> None:
        """Log what was closed since that was logged."""
        if not self.untold or now - self._told_at < TELL_SECONDS:
            return
        new = {reason: count - self._told[reason] for reason, count in self.counts.items()}
        self._told, self._told_at = dict(self.counts), now
        if new["evicted"] or new["refused"]:
            log.warning(
                "no more connections may be open: %d idle ones were closed for new ones, %d new ones at once",
                new["evicted"],
                new["refused"],
            )
        if new["memory"]:
            log.warning(
                "%d connections were closed: clients sent no ends, or did not read, and memory is short", new["memory"]
            )
        if late := new["header"] + new["body"] + new["send"]:
            log.info("%d connections were closed whose clients sent no whole request, or did not read", late)
