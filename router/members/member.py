"""One address of a shard: find out who answers there, and keep watching that it does."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from ringkv.cluster import told
from ringkv.cluster.errors import PeerError
from ringkv.cluster.hot import NO_EXTRA, NO_LOAD
from ringkv.cluster.lease import Heartbeat, offered_in
from ringkv.cluster.place import heard
from ringkv.process.address import Address
from ringkv.process.causes import in_words
from ringkv.process.names import Names
from ringkv.router.lookup.durations import Durations
from ringkv.router.lookup.link import Link
from ringkv.router.lookup.pulse import Pulse
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.members.membership import Candidate, Identity
from ringkv.router.policy import (
    HEARTBEAT_INTERVAL,
    HEARTBEAT_TIMEOUT,
    RECONNECT_MAX,
    RECONNECT_MAX_LOCAL,
    RECONNECT_MIN,
)

log = logging.getLogger("ringkv.router")

TROUBLE = (OSError, PeerError, TimeoutError)
"""Errors that any connection may raise at any time: the remedy is always to try again."""


def problem_of(error: BaseException | None) -> str:
    """One of TROUBLE in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return in_words(error) if isinstance(error, OSError) else str(error)


def identify(info: Any) -> Identity:
    """Read a shard's INFO. Raises PeerError where it is not one."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        announced = told.endpoint(fields.get("announce", ""))
        name, run_id = told.name(fields["name"]), told.identifier("run", fields["run_id"])
        place = heard(fields.get("zone", ""), fields.get("weight", "1"))
        served = told.identifier("dataset", fields["served"]) if "served" in fields else ""
        return Identity(name, run_id, offered_in(fields), announced, place, served)
    except KeyError:
        raise PeerError("what answers there is not a ringkv shard") from None


@dataclass(frozen=True, slots=True)
class Opening:
    """How links to shards are opened: with the secret, and with TLS, if there are any; `names` are looked up before."""

    secret: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    names: Names = field(default_factory=Names, repr=False, compare=False)

    async def link(self, address: Address, durations: Durations | None = None) -> Link:
        """Connect, and prove the secret where there is one. Raises OSError, PeerError, TimeoutError."""
        async with asyncio.timeout(HEARTBEAT_TIMEOUT):
            link = await self._connect(address, partial(Link, durations))
            try:
                if self.secret is not None:
                    await link.call("AUTH", self.secret)
            except BaseException:
                link.close()
                raise
            return link

    async def _connect(self, address: Address, protocol: Callable[[], Link]) -> Link:
        """Connect to the first of the addresses behind this one where somebody listens. Raises OSError."""
        *others, last = await self.names.behind(address)
        for each in others:
            with suppress(OSError):
                return await each.connect(protocol, self.tls)
        return await last.connect(protocol, self.tls)


def backoff(address: Address) -> wait_exponential_jitter:
    """How long to wait between two attempts to reach it."""
    longest = RECONNECT_MAX_LOCAL if address.is_local else RECONNECT_MAX
    # The base is no int: that is raised to the number of attempts, which after a week are millions, in as many bits.
    return wait_exponential_jitter(multiplier=RECONNECT_MIN, max=longest, exp_base=2.0, jitter=RECONNECT_MIN)


async def _ask(link: Link) -> Identity:
    """The identity of the shard that answers on this link. Raises one of TROUBLE."""
    async with asyncio.timeout(HEARTBEAT_TIMEOUT):
        return identify(await link.call("INFO"))


class Member:
    """An address that discovery has named; `identity` is None while nobody answers there as a shard should.

    `name` is the latest name that a shard told there, "" before the first; `pulse` is that of the heartbeats.
    """

    def __init__(
        self,
        address: Address,
        opening: Opening,
        changed: Callable[[], None],
        events: EventLog,
        serves: Callable[[], str] = lambda: "",
    ) -> None:
        """`changed` is called when the membership may change; `serves` returns the dataset that the router serves."""
        self.address = address
        self.identity: Identity | None = None
        self.name = ""
        self.draining = False
        self.checked = 0  # bytes that it has read and checked
        self.direct = 0  # requests of clients that came there without a router
        self.heat = "", NO_LOAD, NO_EXTRA  # of which dataset, its load with it, and what it was leased with last
        self._revision: int | None = None  # of what it offers, None before the first heartbeat
        self._problem = ""
        self._level = logging.INFO  # at which the problem was logged
        self._opening = opening
        self._changed = changed
        self._events = events
        self._serves = serves
        self._link: Link | None = None
        self.pulse = Pulse()

    @property
    def candidate(self) -> Candidate | None:
        """What answers there now."""
        return Candidate(self.address, self.identity, self.draining, self.pulse) if self.identity else None

    async def watch(self) -> None:
        """Connect, ask who it is, send heartbeats; begin again whenever that ends. Runs until cancelled."""
        again = AsyncRetrying(
            retry=retry_if_exception_type(TROUBLE),
            wait=backoff(self.address),
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
        """Take the shard for gone until it answers anew, as another connection to it was lost."""
        self._forget()
        if self._link is not None:
            self._link.close()

    async def _meet(self) -> Link:
        link = await self._opening.link(self.address)
        try:
            self.identity = await _ask(link)
        except BaseException:
            link.close()
            raise
        self.name = self.identity.name
        self._revision = None
        if self._problem:
            log.log(self._level, "shard at %s answers: it is %s", self.address, self.name)
            self._problem = ""
        self._changed()
        return link

    async def _attend(self, link: Link) -> None:
        """Send heartbeats as long as they are answered. Raises one of TROUBLE."""
        while True:
            served = self._serves()
            async with asyncio.timeout(HEARTBEAT_TIMEOUT):
                heartbeat = Heartbeat.parse(await link.call("HEARTBEAT", *filter(None, [served])))
            self.pulse.answered += 1
            self.pulse.rest()
            if heartbeat.extra != self.heat[-1]:
                self._changed()
            self.heat = served, heartbeat.load, heartbeat.extra
            self.checked = heartbeat.checked
            self.direct = heartbeat.direct
            if self._revision != heartbeat.revision:
                # INFO follows the heartbeat, so that it is at least as new as the revision.
                await self._look_again(link, heartbeat.revision)
            if self.draining != heartbeat.draining:
                self.draining = heartbeat.draining
                if self.draining:
                    self._events.note(Kind.LEAVE, f"{self.name} is about to leave", self.name)
                self._changed()
            # The end of the connection ends the wait, so that a shard that dies is missed at once.
            ends = link.closed, self.pulse.wanted
            await asyncio.wait(ends, timeout=HEARTBEAT_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            if link.closed.done():
                raise link.problem

    async def _look_again(self, link: Link, revision: int) -> None:
        """Ask which versions it offers now. Raises one of TROUBLE."""
        found = await _ask(link)
        self._revision = revision
        if self.identity is not None and self.identity != found:
            self.identity = found
            self._changed()

    def _lost(self, error: BaseException | None) -> None:
        problem = problem_of(error)
        if problem != self._problem:
            not_there_yet = (
                not self.name and isinstance(error, OSError) and not isinstance(error, TimeoutError | ssl.SSLError)
            )
            self._level = logging.INFO if not_there_yet else logging.WARNING
            log.log(self._level, "shard at %s: %s; trying again", self.address, problem)
            self._note(problem, error)
        self._problem = problem
        if self.identity is not None:
            self._forget()
            self._changed()

    def _forget(self) -> None:
        """Forget what the shard has told, as what answers next may be another process."""
        self.identity = None
        self.draining = False
        self.checked = 0

    def _note(self, problem: str, error: BaseException | None) -> None:
        """Note an event, unless it was expected, as nobody has answered here yet or the shard said that it leaves."""
        nobody_there = self.identity is None and isinstance(error, OSError)
        if not nobody_there and not self.draining:
            who = f"{self.name} at {self.address}" if self.name else str(self.address)
            self._events.note(Kind.TROUBLE, f"{who}: {problem}", self.name)
