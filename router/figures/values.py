"""The figures of a router and its cluster as plain values: written, read and added up.

What collects them is another module, because `ringkv stats` only reads them and has no router.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ringkv.router.lookup.durations import Durations, total

State = Literal["serving", "joining", "draining", "lost"]

RESULTS: Final = ("found", "missing", "unavailable", "refused", "abandoned")
"""The ways in which a request for a single key ends, by the names of their counters."""


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """One shard as the router sees it; `in_flight` is the number of its requests without a reply.

    `serial` is that of the newest version that it offers, 0 if it is pinned to a dataset or cannot be asked.
    `bytes` is the size of the blocks that it may read, `checked` how many of these bytes it has read and checked: once
    that is all, no request waits for its disk. At `announced`, host:port, clients of a Redis Cluster reach it; empty if
    it announces nothing. `direct` is how many requests have come without a router since the shard's start. `zone` is
    empty if it has none; a shard of twice the `weight` of another one is to own twice as much.
    """

    name: str
    address: str
    state: State
    serial: int
    partitions: int
    keys: int
    bytes: int
    checked: int
    in_flight: int
    durations: Durations
    announced: str = ""
    direct: int = 0
    zone: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of a cluster and the sums of what `workers` router processes have done; times in seconds.

    `serial` is that of the version that is served, 0 if that is of no catalog. `hot_keys` is how many values routers
    keep in their own memory, `hot_bytes` what these take. `connections` is how many are open; `closed` is how many were
    closed as they kept a process waiting or had no place, by reason. `zone` is that of the routers, whose shards they
    ask first; empty if they have none. `extra_owners` names, by hot partition, the shards that hold it beside its
    replicas. `gone` has the reply durations of shards that were asked once and are not among `shards` now, by name.
    """

    version: str
    workers: int
    uptime: float
    epoch: int
    serial: int
    dataset: str | None
    ring: str | None
    replicas: int | None
    partitions: int | None
    keys: int
    bytes: int
    in_flight: int
    waiting: int
    hot_keys: int
    hot_bytes: int
    loop_lag: float
    connections: int
    closed: dict[str, int]
    counters: dict[str, int]
    durations: Durations
    shards: tuple[ShardFigures, ...]
    kept_out: dict[str, str]
    zone: str = ""
    extra_owners: dict[str, list[str]] = field(default_factory=dict)
    gone: dict[str, Durations] = field(default_factory=dict)

    def cluster(self) -> dict[str, Any]:
        """The body of `GET /ring`: who owns how much, without the counters."""
        shown = ("name", "address", "announced", "zone", "weight", "state", "serial", "partitions", "keys", "direct")
        return {
            **{name: getattr(self, name) for name in ("epoch", "serial", "dataset", "ring", "replicas", "partitions")},
            "shards": [{name: getattr(shard, name) for name in shown} for shard in self.shards],
            "extra_owners": self.extra_owners,
            "kept_out": self.kept_out,
        }

    @classmethod
    def parse(cls, found: dict[str, Any]) -> "Figures":
        """The opposite of dataclasses.asdict. Raises KeyError, TypeError for anything else."""
        shards = tuple(
            ShardFigures(**{**shard, "durations": Durations(**shard["durations"])}) for shard in found["shards"]
        )
        gone = {name: Durations(**durations) for name, durations in found["gone"].items()}
        return cls(**{**found, "durations": Durations(**found["durations"]), "shards": shards, "gone": gone})


def add(own: Figures, other: Figures) -> Figures:
    """The state as the first worker sees it, with the counts of both."""
    theirs = {shard.name: shard for shard in other.shards}
    # Workers meet and lose shards at different moments, and one that has just begun has met none: what a shard has
    # replied counts all the same, as a sum that fell would look like a new start of everything.
    replies = other.gone | {shard.name: shard.durations for shard in other.shards}
    gone = (own.gone.keys() | replies.keys()) - {shard.name for shard in own.shards}
    return replace(
        own,
        workers=own.workers + other.workers,
        uptime=max(own.uptime, other.uptime),
        in_flight=own.in_flight + other.in_flight,
        waiting=own.waiting + other.waiting,
        hot_keys=own.hot_keys + other.hot_keys,
        hot_bytes=own.hot_bytes + other.hot_bytes,
        loop_lag=max(own.loop_lag, other.loop_lag),
        connections=own.connections + other.connections,
        closed={reason: count + other.closed[reason] for reason, count in own.closed.items()},
        counters={name: count + other.counters[name] for name, count in own.counters.items()},
        durations=total([own.durations, other.durations]),
        shards=tuple(
            replace(
                shard,
                in_flight=shard.in_flight + (theirs[shard.name].in_flight if shard.name in theirs else 0),
                # The shard counts them, and whoever has heard from it last knows most.
                direct=max(shard.direct, theirs[shard.name].direct if shard.name in theirs else 0),
                durations=total([shard.durations, *_of(shard.name, replies)]),
            )
            for shard in own.shards
        ),
        gone={name: total([*_of(name, own.gone), *_of(name, replies)]) for name in sorted(gone) if name},
    )


def _of(name: str, replies: dict[str, Durations]) -> list[Durations]:
    return [replies[name]] if name in replies else []


def past(figures: Figures) -> Figures:
    """What is kept of the figures of a process that has ended: its counts, but nothing that was in flight."""
    # What the shard itself counts begins anew when the shard does, of which that process hears no more.
    shards = tuple(replace(shard, in_flight=0, direct=0) for shard in figures.shards)
    return replace(
        figures,
        workers=0,
        uptime=0.0,
        in_flight=0,
        waiting=0,
        hot_keys=0,
        hot_bytes=0,
        loop_lag=0.0,
        connections=0,
        shards=shards,
    )
