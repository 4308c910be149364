"""What a shard tells Prometheus, read from its state when it is asked."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from cluster.exposition import common_families, process_families
from cluster.server import VERSION
from shard.state import ShardState


def shard_families(state: ShardState, loop_lag: float) -> Iterator[Metric]:
    """All metrics of a shard; its name stands in `ringkv_shard_info`, to be joined by instance."""
    store, header = state.store, state.store.packed.header
    yield InfoMetricFamily("ringkv_shard", "The name that places this shard on the ring.", {"shard": state.name})
    yield GaugeMetricFamily("ringkv_loaded_keys", "Keys that can be read here.", value=store.keys)
    yield GaugeMetricFamily("ringkv_loaded_bytes", "Bytes of the packed file that are loaded.", value=store.bytes)
    yield GaugeMetricFamily("ringkv_loaded_partitions", "Partitions that are loaded.", value=store.partitions)
    yield GaugeMetricFamily(
        "ringkv_corrupt_partitions",
        "Partitions that were refused, as their bytes do not match their checksum.",
        value=len(store.corrupt),
    )
    yield GaugeMetricFamily("ringkv_dataset_keys", "Keys of the whole dataset.", value=header.keys)
    yield GaugeMetricFamily("ringkv_dataset_partitions", "Partitions of the whole dataset.", value=header.partitions)
    yield CounterMetricFamily("ringkv_commands", "Commands of the Redis protocol that came.", value=state.commands)
    yield GaugeMetricFamily("ringkv_connections", "Connections that are open.", value=state.connections)
    yield GaugeMetricFamily("ringkv_leases", "Rings that are leased here.", value=len(state.leases))
    yield GaugeMetricFamily("ringkv_draining", "1 while the shard waits for its leases to move.", value=state.draining)
    yield from common_families(VERSION, header.dataset_id, loop_lag)
    yield from process_families()
