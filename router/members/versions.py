"""Which version of the data is served since when, which one is next and what it waits for, and which were refused.

The controller acts. Here is what it knows of versions, and here is logged what happens to them: who published what,
what holds it up, what the gate says.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ringkv.cluster.lease import Offered
from ringkv.router.members.events import EventLog, Kind
from ringkv.router.members.membership import Key, Membership, key_of
from ringkv.router.policy import LAG_TOLD

log = logging.getLogger("ringkv.router")


@dataclass(frozen=True, slots=True)
class Served:
    """`since` in seconds since 1970, UTC."""

    version: Offered
    since: float


@dataclass(slots=True)
class Coming:
    """The newest version, as long as it is not served; `since` when it is offered, by the wall clock and by the loop's.

    `lagging` are shards that do not offer it, `leasing` those that do but have not leased it yet, each with the reason;
    `refused` is what the gate said.
    """

    version: Offered
    since: float
    started: float
    lagging: dict[str, str] = field(default_factory=dict)
    leasing: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    told: bool = False  # whether it was logged that it takes long

    @property
    def waiting_for(self) -> dict[str, str]:
        return dict(sorted((self.lagging | self.leasing).items()))


class Versions:
    """`served` and `coming` are None where there is none; `refused` are versions that the gate keeps out."""

    def __init__(self, clock: Callable[[], float], events: EventLog) -> None:
        self._clock = clock
        self._events = events
        self.served: Served | None = None
        self.coming: Coming | None = None
        self.refused: dict[Key, str] = {}

    @property
    def version(self) -> Offered | None:
        return self.served.version if self.served else None

    def look(self, membership: Membership) -> None:
        """Note what is offered now. To be called at each change, and now and then without one."""
        newest, served = membership.newest, self.version
        if newest is None or served is None or newest.serial <= served.serial or membership.version is None:
            self.coming = None
            return
        if self.coming is None or key_of(self.coming.version) != key_of(newest):
            self.coming = Coming(newest, time.time(), self._clock())
            self._note(f"{named(newest)} was published{_by(newest)}")
        coming = self.coming
        coming.refused = self.refused.get(key_of(newest))
        coming.lagging = {
            name: _lags(shard.identity.versions)
            for name, shard in membership.shards.items()
            if not shard.identity.offers(newest.dataset_id)
        }
        coming.leasing = {name: why for name, why in coming.leasing.items() if name in membership.shards}
        if not coming.told and not coming.refused and self._clock() - coming.started >= LAG_TOLD:
            coming.told = True
            waiting = "; ".join(f"{name} {why}" for name, why in coming.waiting_for.items()) or "no shard says why"
            log.warning("version %d is held up: %s", newest.serial, waiting)
            self._note(f"{named(newest)} is held up: {waiting}")

    def leasing(self, version: Offered, name: str, why: str | None) -> None:
        """Note what a shard has yet to do for this version, None once it has done that."""
        coming = self.coming
        if coming is not None and key_of(coming.version) == key_of(version):
            coming.leasing.pop(name, None)
            if why is not None:
                coming.leasing[name] = why

    def refuse(self, version: Offered, why: str) -> None:
        """Keep a version out, for the reason that the gate gives."""
        self.refused[key_of(version)] = why
        log.warning("version %d is refused: %s", version.serial, why)
        self._note(f"{named(version)}{_by(version)} is refused: {why}")

    def forced(self, version: Offered, why: str) -> None:
        """Log that the gate would have kept out a version that is forced."""
        log.warning("version %d is forced by %s: %s", version.serial, version.by, why)
        self._note(f"{named(version)} is forced{_by(version)}: {why}")

    def serve(self, version: Offered) -> None:
        """Note that this version is served from now on."""
        before, self.served = self.served, Served(version, time.time())
        if before is not None and key_of(before.version) == key_of(version):
            self.served = before
            return
        coming, self.coming = self.coming, None
        self.refused = {key: why for key, why in self.refused.items() if key[0] > version.serial}
        if before is None and not version.serial:
            return  # it is of no catalog
        self._note(f"{named(version)}{_by(version)} is served")
        if coming is not None and coming.told and coming.version == version:
            log.warning("version %d is served after %.1f s", version.serial, self._clock() - coming.started)

    def _note(self, text: str) -> None:
        self._events.note(Kind.VERSION, text)


def named(version: Offered) -> str:
    """The name of a version in sentences."""
    dataset = f"dataset {version.dataset_id[:12]}"
    return f"version {version.serial} ({dataset})" if version.serial else dataset


def _by(version: Offered) -> str:
    return f" by {version.by} at {version.at}" if version.by else ""


def _lags(versions: tuple[Offered, ...]) -> str:
    """What a shard offers instead of what is wanted."""
    if not versions:
        return "offers nothing yet"
    newest = versions[0]
    return f"offers version {newest.serial} yet" if newest.serial else f"is pinned to dataset {newest.dataset_id[:12]}"
