"""One address of a shard: find out who answers there, and keep watching that it does."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from cluster.address import Address
from cluster.errors import PeerError
from cluster.lease import DRAINING
from router.durations import Durations
from router.link import Link
from router.membership import Candidate, Identity
from router.policy import HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, RECONNECT_MAX, RECONNECT_MIN

log = logging.getLogger("ringkv.router")

TROUBLE = (OSError, PeerError, TimeoutError)
"""What may happen to any connection at any time, and is always answered by trying again."""


def identify(info: Any) -> Identity:
    """Read a shard's INFO. Raises PeerError where it is not one."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        return Identity(fields["name"], fields["run_id"], fields["dataset_id"], int(fields["partitions"]))
    except (KeyError, ValueError):
        raise PeerError("what answers there is not a ringkv shard") from None


async def open_link(address: Address, secret: str | None, durations: Durations | None = None) -> Link:
    """Connect, and prove the secret where there is one. Raises OSError, PeerError, TimeoutError."""
    async with asyncio.timeout(HEARTBEAT_TIMEOUT):
        link = await address.connect(partial(Link, durations))
        try:
            if secret is not None:
                await link.call("AUTH", secret)
        except BaseException:
            link.close()
            raise
        return link


class Member:
    """An address that discovery has named; `identity` is None while nobody answers there as a shard should.

    `name` is the latest that was heard from there, "" before the first.
    """

    def __init__(self, address: Address, secret: str | None, changed: Callable[[], None]) -> None:
        self.address = address
        self.identity: Identity | None = None
        self.name = ""
        self.draining = False
        self._problem = ""
        self._secret = secret
        self._changed = changed
        self._link: Link | None = None

    @property
    def candidate(self) -> Candidate | None:
        """What answers there now."""
        return Candidate(self.address, self.identity, self.draining) if self.identity else None

    async def watch(self) -> None:
        """Connect, ask who it is, send heartbeats; begin again whenever that ends. Runs until cancelled."""
        again = AsyncRetrying(
            retry=retry_if_exception_type(TROUBLE),
            wait=wait_exponential_jitter(multiplier=RECONNECT_MIN, max=RECONNECT_MAX, jitter=RECONNECT_MIN),
            before_sleep=lambda state: self._lost(state.outcome.exception() if state.outcome else None),
        )
        while True:
            link: Link = await again(self._meet)
            self._link = link
            try:
                await self._attend(link)
            except TROUBLE as error:
                self._lost(error)
            finally:
                link.close()
            await asyncio.sleep(RECONNECT_MIN)

    def doubt(self) -> None:
        """Meet the shard again before believing that it is there: another connection to it was lost."""
        self.identity = None
        if self._link is not None:
            self._link.close()

    async def _meet(self) -> Link:
        link = await open_link(self.address, self._secret)
        try:
            async with asyncio.timeout(HEARTBEAT_TIMEOUT):
                self.identity = identify(await link.call("INFO"))
        except BaseException:
            link.close()
            raise
        self.name = self.identity.name
        self._problem = ""
        self._changed()
        return link

    async def _attend(self, link: Link) -> None:
        """Send heartbeats as long as they are answered. Raises one of TROUBLE."""
        while True:
            async with asyncio.timeout(HEARTBEAT_TIMEOUT):
                draining = await link.call("PING") == DRAINING.encode()
            if self.draining != draining:
                self.draining = draining
                self._changed()
            # Woken early by the end of the connection: a shard that dies is missed at once.
            if (await asyncio.wait([link.closed], timeout=HEARTBEAT_INTERVAL))[0]:
                raise link.problem

    def _lost(self, error: BaseException | None) -> None:
        problem = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        if problem != self._problem:
            not_there_yet = not self.name and isinstance(error, OSError) and not isinstance(error, TimeoutError)
            level = logging.INFO if not_there_yet else logging.WARNING
            log.log(level, "shard at %s: %s; trying again", self.address, problem)
        self._problem = problem
        if self.identity is not None:
            self.identity = None
            self.draining = False
            self._changed()
