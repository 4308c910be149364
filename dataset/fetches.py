"""What a process fetches from stores, of all its datasets together: the limit of its rate, its counters, its failures.

One rate holds for all that is fetched ahead, and can be changed at any time; what somebody waits for is not held up.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ringkv.cluster.errors import StoreError

log = logging.getLogger("ringkv.dataset")

AT_ONCE: Final = 8
"""Groups of requests for what is fetched ahead that are under way at once: enough for a store that answers slowly, and
with 8 MiB each they are all that is held in memory."""

CATCH_UP: Final = 0.1
"""Seconds of delay that may be made up for, at most: so a request that took long is not followed by a rush."""

TELL_SECONDS: Final = 10.0
"""Seconds between two lines in the log about a store that fails, answers, and fails again."""

REFUSAL_SECONDS: Final = 10.0
"""Seconds for which probes are told that something which was asked for could not be fetched."""


class Fetches:
    """`requests` were answered, with `bytes` in `seconds` altogether; `errors` were not, `in_flight` are under way.

    `throttled` are the seconds for which the rate has held requests up, `healed` the damaged blocks of mirrors.
    """

    def __init__(self, rate: int = 0) -> None:
        self.requests = 0
        self.bytes = 0
        self.seconds = 0.0
        self.errors = 0
        self.in_flight = 0
        self.throttled = 0.0
        self.healed = 0
        self.slots = asyncio.Semaphore(AT_ONCE)
        self._rate = rate
        self._free = 0.0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._lock = threading.Lock()
        self._failing = ""
        self._since = 0.0
        self._told = float("-inf")
        self._refused = float("-inf")

    @property
    def rate(self) -> int:
        """Bytes a second that may be fetched before anybody asks for them; 0 for no limit."""
        return self._rate

    @rate.setter
    def rate(self, rate: int) -> None:
        now = time.monotonic()
        if rate:
            self._free = now + max(0.0, self._free - now) * self._rate / rate
        self._rate = rate
        self._changed.set()

    async def pace(self, size: int) -> None:
        """Wait until a request of so many bytes may be sent without exceeding the rate, in the order of asking."""
        async with self._turn:
            began = time.monotonic()
            while self._rate and (pause := self._free - time.monotonic()) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
            now = time.monotonic()
            self.throttled += now - began
            if self._rate:
                self._free = max(self._free, now - CATCH_UP) + size / self._rate

    @contextmanager
    def counting(self, size: int, requests: int = 1) -> Iterator[None]:
        """Count the body of this context as so many requests, for so many bytes together. In any thread."""
        began = time.monotonic()
        with self._lock:
            self.in_flight += requests
        try:
            yield
        except StoreError as error:
            with self._lock:
                self.errors += 1
                self._fail(str(error))
            raise
        except asyncio.CancelledError:
            with self._lock:
                self.errors += 1
            raise
        else:
            with self._lock:
                self.requests += requests
                self.bytes += size
                self.seconds += requests * (time.monotonic() - began)
                self._recover()
        finally:
            with self._lock:
                self.in_flight -= requests

    def heal(self) -> int:
        """Count a block that was damaged in a mirror; how many there were so far. In any thread."""
        with self._lock:
            self.healed += 1
            return self.healed

    def refuse(self, reason: str) -> None:
        """Note why something that somebody waited for could not be fetched."""
        with self._lock:
            self._refused = time.monotonic()
            self._fail(reason)

    @property
    def unavailable(self) -> str:
        """Why something that was asked for in the last REFUSAL_SECONDS could not be fetched; "" if nothing was."""
        lately = time.monotonic() - self._refused < REFUSAL_SECONDS
        return self._failing if lately else ""

    @property
    def failing(self) -> str:
        """Why the latest request failed; "" if it did not."""
        return self._failing

    def _fail(self, reason: str) -> None:
        now = time.monotonic()
        if not self._failing and now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning("%s: what is in the cache is served, and the rest is tried again and again", reason)
        self._since = self._since if self._failing else now
        self._failing = reason

    def _recover(self) -> None:
        if self._failing:
            self._failing = ""
            if self._told >= self._since:
                log.info("fetching works again, after %.1f s", time.monotonic() - self._since)
