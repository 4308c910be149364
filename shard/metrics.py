"""What a shard tells Prometheus, read from its state when it is asked."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from ringkv import __version__
from ringkv.dataset.fetches import Fetches
from ringkv.process.exposition import closed_connections, common_families, process_families, unauthorized
from ringkv.shard.state import ShardState
from ringkv.shard.version import Version


def shard_families(state: ShardState, loop_lag: float) -> Iterator[Metric]:
    """All metrics of a shard; its name stands in `ringkv_shard_info`, to be joined by instance."""
    versions = state.versions
    dataset_id = None
    yield InfoMetricFamily("ringkv_shard", "The name that places this shard on the ring.", {"shard": state.name})
    if versions.offered:
        yield from _version_families(versions.newest)
        dataset_id = versions.newest.about.dataset_id
    yield GaugeMetricFamily(
        "ringkv_shard_versions", "Versions of the data that are held, offered or still leased.", value=len(versions)
    )
    offered = InfoMetricFamily(
        "ringkv_shard_version", "A version that can be leased here.", labels=["serial", "dataset"]
    )
    for version in versions.offered:
        offered.add_metric([str(version.about.serial), version.about.dataset_id], {})
    yield offered
    yield GaugeMetricFamily(
        "ringkv_shard_behind",
        "1 while the version that the catalog says cannot be served, or the catalog cannot be read.",
        value=versions.behind,
    )
    yield CounterMetricFamily("ringkv_commands", "Commands of the Redis protocol that came.", value=state.commands)
    yield CounterMetricFamily(
        "ringkv_direct_requests", "Of these, those of clients that came without a router.", value=state.direct
    )
    redirects = state.cluster.redirects if state.cluster else 0
    yield CounterMetricFamily("ringkv_redirects", "Clients that were sent to the owner of their key.", value=redirects)
    yield GaugeMetricFamily("ringkv_connections", "Connections that are open.", value=len(state.guard))
    yield closed_connections(state.guard.closed)
    yield unauthorized(state.tokens.refused if state.tokens else 0)
    yield GaugeMetricFamily("ringkv_leases", "Rings that are leased here.", value=versions.leases)
    yield GaugeMetricFamily("ringkv_draining", "1 while the shard waits for its leases to move.", value=state.draining)
    yield from _fetch_families(state.fetches)
    yield from common_families(__version__, dataset_id, loop_lag)
    yield from process_families()


def _version_families(version: Version) -> Iterator[Metric]:
    """Those about what is leased of a version, and about all of it."""
    blocks, reads, manifest = version.store.blocks, version.reads, version.dataset.manifest
    yield GaugeMetricFamily("ringkv_leased_keys", "Keys that can be read here.", value=blocks.keys)
    yield GaugeMetricFamily("ringkv_leased_bytes", "Bytes of the blocks that can be read here.", value=blocks.bytes)
    yield GaugeMetricFamily("ringkv_leased_partitions", "Partitions that can be read here.", value=len(blocks.rows))
    yield GaugeMetricFamily(
        "ringkv_checked_bytes",
        "Bytes of the blocks that were read and checked: all that are leased, once the shard is warm.",
        value=blocks.checked_bytes,
    )
    yield GaugeMetricFamily(
        "ringkv_corrupt_blocks",
        "Blocks that were refused, as their bytes do not match their checksum or cannot be read.",
        value=len(blocks.corrupt),
    )
    yield CounterMetricFamily("ringkv_disk_reads", "Blocks that had to be waited for.", value=reads.done)
    yield CounterMetricFamily("ringkv_disk_read_seconds", "Time that those reads took altogether.", value=reads.seconds)
    yield GaugeMetricFamily("ringkv_disk_reads_in_flight", "Blocks that are waited for.", value=reads.in_flight)
    yield GaugeMetricFamily("ringkv_dataset_keys", "Keys of the whole dataset.", value=manifest.keys)
    yield GaugeMetricFamily("ringkv_dataset_partitions", "Partitions of the whole dataset.", value=manifest.partitions)


def _fetch_families(fetches: Fetches) -> Iterator[Metric]:
    """What comes from a store, for all versions together."""
    yield CounterMetricFamily("ringkv_fetch_requests", "Requests that a store has answered.", value=fetches.requests)
    yield CounterMetricFamily("ringkv_fetched_bytes", "Bytes that came from a store.", value=fetches.bytes)
    yield CounterMetricFamily("ringkv_fetch_seconds", "Time that those requests took together.", value=fetches.seconds)
    yield CounterMetricFamily("ringkv_fetch_errors", "Requests that a store has not answered.", value=fetches.errors)
    yield GaugeMetricFamily("ringkv_fetches_in_flight", "Requests that a store is to answer.", value=fetches.in_flight)
    yield GaugeMetricFamily(
        "ringkv_fetch_rate", "Bytes a second that may be fetched before anybody asks; 0: no limit.", value=fetches.rate
    )
    yield CounterMetricFamily(
        "ringkv_fetch_throttled_seconds", "Time that this rate has held requests up.", value=fetches.throttled
    )
    yield GaugeMetricFamily(
        "ringkv_fetch_failing", "1 while a store does not answer as it should.", value=int(bool(fetches.failing))
    )
    yield CounterMetricFamily(
        "ringkv_healed_blocks", "Blocks that were damaged in the cache and fetched again.", value=fetches.healed
    )
