"""What a cluster has done between two looks at its figures: rates and quantiles, which no single look can tell."""

from dataclasses import dataclass

from ringkv.router.figures.values import RESULTS, Figures, ShardFigures
from ringkv.router.lookup.durations import Durations

OTHERS = ("batched", "hedged", "retried", "waited")
READS = ("hits", "own_zone", "other_zone")
"""By what keys were answered: a value that the router had kept, a shard in its own zone, or one in another zone."""


@dataclass(frozen=True, slots=True)
class ShardActivity:
    """One shard; `requests` a second, `p50` and `p99` in seconds, None where there were no requests."""

    name: str
    address: str
    state: str
    zone: str
    partitions: int
    keys: int
    bytes: int
    checked: int
    in_flight: int
    requests: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Activity:
    """A cluster over `seconds`: `rates` are how often each thing happened a second; the rest is the state at the end.

    `hot_share` is the part of the keys asked for one by one that the router answered with a value which it had kept,
    `zone_share` the part of the reads from shards that stayed in the router's own zone; None if there were none.
    """

    seconds: float
    version: str
    workers: int
    uptime: float
    dataset: str | None
    epoch: int
    replicas: int | None
    partitions: int | None
    keys: int
    bytes: int
    in_flight: int
    waiting: int
    hot_keys: int
    hot_bytes: int
    hot_share: float | None
    zone: str
    zone_share: float | None
    loop_lag: float
    requests: float
    rates: dict[str, float]
    p50: float | None
    p99: float | None
    shards: tuple[ShardActivity, ...]
    kept_out: dict[str, str]
    extra_owners: dict[str, list[str]]

    @classmethod
    def between(cls, before: Figures, after: Figures, seconds: float) -> "Activity":
        """What happened between two looks. Counters that went down are of a process that began anew, and count as 0."""
        counted = {name: max(0, count - before.counters[name]) for name, count in after.counters.items()}
        rates = {name: counted[name] / seconds for name in (*RESULTS, *OTHERS, *READS)}
        grown = _grown(before.durations, after.durations)
        shards_before = {(shard.name, shard.address): shard for shard in before.shards}
        return cls(
            seconds=seconds,
            version=after.version,
            workers=after.workers,
            uptime=after.uptime,
            dataset=after.dataset,
            epoch=after.epoch,
            replicas=after.replicas,
            partitions=after.partitions,
            keys=after.keys,
            bytes=after.bytes,
            in_flight=after.in_flight,
            waiting=after.waiting,
            hot_keys=after.hot_keys,
            hot_bytes=after.hot_bytes,
            hot_share=_share(counted["hits"], counted["requests"]),
            zone=after.zone,
            zone_share=_share(counted["own_zone"], counted["own_zone"] + counted["other_zone"]),
            loop_lag=after.loop_lag,
            requests=sum(rates[name] for name in RESULTS),
            rates=rates,
            p50=_quantile(grown, 0.5),
            p99=_quantile(grown, 0.99),
            shards=tuple(
                _shard(shards_before.get((shard.name, shard.address)), shard, seconds) for shard in after.shards
            ),
            kept_out=after.kept_out,
            extra_owners=after.extra_owners,
        )


def _shard(before: ShardFigures | None, after: ShardFigures, seconds: float) -> ShardActivity:
    grown = _grown(before.durations, after.durations) if before else Durations()
    return ShardActivity(
        name=after.name,
        address=after.address,
        state=after.state,
        zone=after.zone,
        partitions=after.partitions,
        keys=after.keys,
        bytes=after.bytes,
        checked=after.checked,
        in_flight=after.in_flight,
        requests=grown.count / seconds,
        p50=_quantile(grown, 0.5),
        p99=_quantile(grown, 0.99),
    )


def _grown(before: Durations, after: Durations) -> Durations:
    difference = after.since(before)
    return Durations([max(0, count) for count in difference.counts], max(0.0, difference.seconds))


def _quantile(durations: Durations, share: float) -> float | None:
    return durations.quantile(share) if durations.count else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
