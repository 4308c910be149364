"""The body of `GET /versions`: which version of the data is served since when, and what the next one waits for.

It is apart from the other figures, as nothing of it is counted: it is what this worker of the router sees now.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ringkv.cluster.lease import Offered
from ringkv.router.lookup.lookup import Lookups
from ringkv.router.members.controller import Controller
from ringkv.router.members.versions import Coming, Served


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The version that is served `since`; `by` whom and when, `at`, it was published: empty without a catalog."""

    serial: int
    dataset: str
    since: str
    by: str
    at: str
    keys: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """A shard that a version waits for, and why."""

    shard: str
    why: str


@dataclass(frozen=True, slots=True)
class ComingVersion:
    """The newest version, if it is not served yet; `refused` is why the gate keeps it out, null if it does not."""

    serial: int
    dataset: str
    since: str
    by: str
    at: str
    waiting_for: tuple[WaitingFor, ...]
    refused: str | None


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A dataset that was served before and can still be asked for with `?dataset=`, and `until` when."""

    dataset: str
    until: str


@dataclass(frozen=True, slots=True)
class OfferedVersion:
    """A version that can be leased from a shard."""

    serial: int
    dataset: str


@dataclass(frozen=True, slots=True)
class VersionsSeen:
    """What is served, what is about to be, what is kept, and what each shard offers, the newest version first."""

    served: ServedVersion | None
    swapping: ComingVersion | None
    kept: tuple[KeptVersion, ...]
    offered: dict[str, tuple[OfferedVersion, ...]]


def versions_seen(lookups: Lookups, controller: Controller) -> VersionsSeen:
    """The versions as this worker sees them now."""
    now = time.time()
    served, coming = controller.versions.served, controller.versions.coming
    return VersionsSeen(
        _served(served, lookups) if served else None,
        _coming(coming) if coming else None,
        tuple(KeptVersion(topology.dataset_id, written_out(now + left)) for topology, left in lookups.kept),
        _offered(controller),
    )


def written_out(at: float) -> str:
    """A time in seconds since 1970 as RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _served(served: Served, lookups: Lookups) -> ServedVersion | None:
    version, topology = served.version, lookups.topology
    if topology is None:
        return None
    dataset = topology.dataset
    return ServedVersion(
        version.serial,
        version.dataset_id,
        written_out(served.since),
        version.by,
        version.at,
        dataset.keys,
        dataset.bytes,
    )


def _coming(coming: Coming) -> ComingVersion:
    version = coming.version
    waiting = tuple(WaitingFor(name, why) for name, why in coming.waiting_for.items())
    since = written_out(coming.since)
    return ComingVersion(version.serial, version.dataset_id, since, version.by, version.at, waiting, coming.refused)


def _offered(controller: Controller) -> dict[str, tuple[OfferedVersion, ...]]:
    members = sorted(controller.members.items())
    known = [member.identity for _, member in members if member.identity is not None]
    return {identity.name: tuple(map(_told, identity.versions)) for identity in known}


def _told(version: Offered) -> OfferedVersion:
    return OfferedVersion(version.serial, version.dataset_id)
