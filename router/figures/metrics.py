"""A router's metrics for Prometheus, made from its figures at each scrape: nothing is counted for Prometheus alone.

Several workers are told as their sums. `process_*` is left out then: it would describe the worker that happens to
answer, another one at each scrape.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from ringkv.process.exposition import closed_connections, common_families, process_families, unauthorized
from ringkv.router.figures.values import RESULTS, Figures, ShardFigures
from ringkv.router.lookup.durations import BOUNDS, Durations

_EVENTS: Final = {
    "hedged": "Requests that also went to another owner, as the first did not reply in time.",
    "retried": "Requests that were sent again, as an owner was lost or does not hold the key's partition.",
    "waited": "Requests that had to wait for the next topology.",
}
_LIVE: Final = {"serving", "draining"}
_LIKELIEST: Final = ("serving", "draining", "joining", "lost")
_UPPER: Final = (*map(floatToGoString, BOUNDS), "+Inf")


def router_families(figures: Figures) -> Iterator[Metric]:
    """All metrics of a router."""
    yield from _requests(figures)
    yield from _topology(figures)
    yield from _shards(figures)
    yield GaugeMetricFamily("ringkv_workers", "Processes whose figures these are.", value=figures.workers)
    yield GaugeMetricFamily("ringkv_connections", "Connections that are open.", value=figures.connections)
    yield closed_connections(figures.closed)
    yield unauthorized(figures.counters["unauthorized"])
    yield from common_families(figures.version, figures.dataset, figures.loop_lag)
    if figures.workers == 1:
        yield from process_families()


def _requests(figures: Figures) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "ringkv_requests", "Keys asked for one by one, by how that ended.", labels=["result"]
    )
    for result in RESULTS:
        requests.add_metric([result], figures.counters[result])
    yield requests
    for event, documentation in _EVENTS.items():
        yield CounterMetricFamily(f"ringkv_{event}", documentation, value=figures.counters[event])
    yield CounterMetricFamily(
        "ringkv_batched_keys", "Keys asked for many at a time.", value=figures.counters["batched"]
    )
    zones = CounterMetricFamily(
        "ringkv_zone_reads", "Keys that shards in the router's zone have answered, and others.", labels=["zone"]
    )
    for zone in ("own", "other"):
        zones.add_metric([zone], figures.counters[f"{zone}_zone"])
    yield zones
    hits = figures.counters["hits"]
    yield CounterMetricFamily(
        "ringkv_hot_hits", "Of the keys asked for one by one, those whose values the router had kept.", value=hits
    )
    yield CounterMetricFamily(
        "ringkv_hot_misses", "The others, which were looked up.", value=figures.counters["requests"] - hits
    )
    yield GaugeMetricFamily("ringkv_hot_keys", "Values that the router keeps.", value=figures.hot_keys)
    yield GaugeMetricFamily("ringkv_hot_bytes", "Memory that they take.", value=figures.hot_bytes)
    durations = HistogramMetricFamily(
        "ringkv_request_duration_seconds", "From a request's arrival to its answer, inside the router.", labels=[]
    )
    _add(durations, [], figures.durations)
    yield durations
    yield GaugeMetricFamily("ringkv_requests_in_flight", "Requests that are not answered yet.", value=figures.in_flight)
    yield GaugeMetricFamily(
        "ringkv_requests_waiting",
        "Of these, those that no shard can answer before the next topology.",
        value=figures.waiting,
    )


def _topology(figures: Figures) -> Iterator[Metric]:
    ready = figures.epoch > 0 and any(shard.state in _LIVE for shard in figures.shards)
    yield GaugeMetricFamily("ringkv_ready", "1 while at least a part of the keys can be asked for.", value=ready)
    yield GaugeMetricFamily(
        "ringkv_topology_epoch", "Topologies since the start, 0 before the first.", value=figures.epoch
    )
    yield GaugeMetricFamily(
        "ringkv_served_serial", "Serial of the version that is served, 0 if it is of no catalog.", value=figures.serial
    )
    yield GaugeMetricFamily(
        "ringkv_offered_serial",
        "Serial of the newest version that a shard offers.",
        value=max((shard.serial for shard in figures.shards), default=0),
    )
    yield CounterMetricFamily(
        "ringkv_swaps", "Datasets that took over from another one.", value=figures.counters["swapped"]
    )
    yield CounterMetricFamily(
        "ringkv_swaps_refused", "Versions that the gate has kept out.", value=figures.counters["gated"]
    )
    yield GaugeMetricFamily("ringkv_replicas", "Owners that each key should have.", value=figures.replicas or 0)
    yield GaugeMetricFamily("ringkv_partitions", "Partitions of the dataset.", value=figures.partitions or 0)
    yield GaugeMetricFamily("ringkv_keys", "Keys that are served, each counted once.", value=figures.keys)
    yield GaugeMetricFamily("ringkv_bytes", "Bytes of the dataset's blocks that are served.", value=figures.bytes)
    yield GaugeMetricFamily(
        "ringkv_extra_owners",
        "Owners that hot partitions have beside their replicas.",
        value=sum(map(len, figures.extra_owners.values())),
    )
    yield GaugeMetricFamily(
        "ringkv_kept_out_shards", "Shards that answer but must not take part.", value=len(figures.kept_out)
    )


def _shards(figures: Figures) -> Iterator[Metric]:
    up = GaugeMetricFamily("ringkv_shard_up", "1 while the shard can be asked.", labels=["shard"])
    partitions = GaugeMetricFamily("ringkv_shard_partitions", "Partitions that the shard owns.", labels=["shard"])
    keys = GaugeMetricFamily("ringkv_shard_keys", "Keys that the shard owns.", labels=["shard"])
    size = GaugeMetricFamily("ringkv_shard_bytes", "Bytes of the blocks that the shard owns.", labels=["shard"])
    checked = GaugeMetricFamily(
        "ringkv_shard_checked_bytes", "Bytes of these blocks that the shard has read and checked.", labels=["shard"]
    )
    in_flight = GaugeMetricFamily(
        "ringkv_shard_requests_in_flight", "Requests that the shard has not replied to yet.", labels=["shard"]
    )
    direct = CounterMetricFamily(
        "ringkv_shard_direct_requests",
        "Requests that came to the shard without a router, since its start.",
        labels=["shard"],
    )
    replies = HistogramMetricFamily(
        "ringkv_shard_reply_duration_seconds",
        "From a request's arrival to the shard's reply, of requests that were sent once.",
        labels=["shard"],
    )
    for shard in _named(figures):
        label = [shard.name]
        up.add_metric(label, shard.state in _LIVE)
        partitions.add_metric(label, shard.partitions)
        keys.add_metric(label, shard.keys)
        size.add_metric(label, shard.bytes)
        checked.add_metric(label, shard.checked)
        in_flight.add_metric(label, shard.in_flight)
        direct.add_metric(label, shard.direct)
        _add(replies, label, shard.durations)
    yield from (up, partitions, keys, size, checked, in_flight, direct, replies)


def _named(figures: Figures) -> list[ShardFigures]:
    """Each shard that has a name, once: one that came back at another address is known at both addresses."""
    found: dict[str, ShardFigures] = {}
    for shard in sorted(figures.shards, key=lambda shard: -_LIKELIEST.index(shard.state)):
        found[shard.name] = shard
    return [found[name] for name in sorted(found) if name]


def _add(family: HistogramMetricFamily, labels: list[str], durations: Durations) -> None:
    family.add_metric(labels, list(zip(_UPPER, accumulate(durations.counts), strict=True)), durations.seconds)
