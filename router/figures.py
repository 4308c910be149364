"""What a router tells of itself and its cluster: plain values, to which those of its other workers are added."""

import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from cluster.lease import Leased
from cluster.server import VERSION
from router.controller import Controller
from router.durations import Durations, total
from router.lookup import Counters, Lookups
from router.member import Member
from router.topology import Topology

_STARTED: Final = time.monotonic()


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """One shard as the router sees it; `unanswered` are requests, `bytes` what is loaded of the packed file."""

    name: str
    address: str
    state: str  # serving, joining, draining or lost
    partitions: int
    keys: int
    bytes: int
    unanswered: int
    durations: Durations


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of a cluster and the sums of what `workers` router processes have done; times in seconds."""

    version: str
    workers: int
    uptime: float
    epoch: int
    dataset: str | None
    ring: str | None
    replicas: int | None
    partitions: int | None
    keys: int
    bytes: int
    in_flight: int
    waiting: int
    loop_lag: float
    counters: dict[str, int]
    durations: Durations
    shards: tuple[ShardFigures, ...]
    kept_out: dict[str, str]

    def cluster(self) -> dict[str, Any]:
        """The body of `GET /ring`: who owns what, without what was done."""
        shown = ("name", "address", "state", "partitions", "keys")
        return {
            **{name: getattr(self, name) for name in ("epoch", "dataset", "ring", "replicas", "partitions")},
            "shards": [{name: getattr(shard, name) for name in shown} for shard in self.shards],
            "kept_out": self.kept_out,
        }

    @classmethod
    def parse(cls, found: dict[str, Any]) -> "Figures":
        """The opposite of dataclasses.asdict. Raises KeyError, TypeError where it is something else."""
        shards = tuple(
            ShardFigures(**{**shard, "durations": Durations(**shard["durations"])}) for shard in found["shards"]
        )
        return cls(**{**found, "durations": Durations(**found["durations"]), "shards": shards})


def own_figures(lookups: Lookups, controller: Controller, loop_lag: float) -> Figures:
    """Those of this process alone."""
    topology = lookups.topology
    dataset = topology.dataset if topology else Leased(0, 0)
    durations = lookups.durations()
    return Figures(
        version=VERSION,
        workers=1,
        uptime=time.monotonic() - _STARTED,
        epoch=topology.epoch if topology else 0,
        dataset=topology.dataset_id if topology else None,
        ring=topology.ring.ring_id if topology else None,
        replicas=topology.ring.replicas if topology else None,
        partitions=topology.ring.partitions if topology else None,
        keys=dataset.keys,
        bytes=dataset.bytes,
        in_flight=lookups.unanswered,
        waiting=lookups.waiting,
        loop_lag=loop_lag,
        counters=_counters(lookups.counters, durations),
        durations=durations,
        shards=_shards(lookups, controller),
        kept_out={str(address): reason for address, reason in controller.kept_out.items()},
    )


def add(own: Figures, other: Figures) -> Figures:
    """The state as one worker sees it, with what two have done."""
    theirs = {shard.name: shard for shard in other.shards}
    return replace(
        own,
        workers=own.workers + other.workers,
        uptime=max(own.uptime, other.uptime),
        in_flight=own.in_flight + other.in_flight,
        waiting=own.waiting + other.waiting,
        loop_lag=max(own.loop_lag, other.loop_lag),
        counters={name: count + other.counters[name] for name, count in own.counters.items()},
        durations=total([own.durations, other.durations]),
        shards=tuple(
            replace(
                shard,
                unanswered=shard.unanswered + their.unanswered,
                durations=total([shard.durations, their.durations]),
            )
            if (their := theirs.get(shard.name))
            else shard
            for shard in own.shards
        ),
    )


def past(figures: Figures) -> Figures:
    """What is left of a process that has ended: what it has done, and nothing of what it was doing."""
    shards = tuple(replace(shard, unanswered=0) for shard in figures.shards)
    return replace(figures, workers=0, uptime=0.0, in_flight=0, waiting=0, loop_lag=0.0, shards=shards)


def _counters(counters: Counters, durations: Durations) -> dict[str, int]:
    found = {field.name: getattr(counters, field.name) for field in fields(counters)}
    # Nobody counts what nearly all requests are; but every one that is answered is timed.
    return {**found, "found": durations.count - counters.missing - counters.unavailable}


def _shards(lookups: Lookups, controller: Controller) -> tuple[ShardFigures, ...]:
    topology = lookups.topology
    owned = Counter(name for owners in topology.ring.owners for name in owners) if topology else Counter[str]()
    found = []
    for member in controller.members.values():
        if member.address in controller.kept_out:
            continue
        name = member.name
        leased = topology.leased.get(name) if topology else None
        link = topology.links.get(name) if topology else None
        found.append(
            ShardFigures(
                name=name,
                address=str(member.address),
                state=_state(member, topology),
                partitions=owned[name],
                keys=leased.keys if leased else 0,
                bytes=leased.bytes if leased else 0,
                unanswered=link.unanswered if link else 0,
                durations=lookups.shard_durations.get(name) or Durations(),
            )
        )
    return tuple(sorted(found, key=lambda shard: (shard.name, shard.address)))


def _state(member: Member, topology: Topology | None) -> str:
    if member.identity is None:
        return "lost"
    if member.draining:
        return "draining"
    link = topology.links.get(member.name) if topology else None
    return "serving" if link is not None and link.open else "joining"
