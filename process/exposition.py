"""The text in which a process tells Prometheus of itself, and what router and shard tell alike.

Metrics are made at each scrape, from figures that are kept anyway: nothing is counted for Prometheus alone.
Names and units: https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


def exposition(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The body and the content type for a client with this `Accept` header: OpenMetrics if it asks for that."""
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # the header asks for a version that is not a number
        encode, content_type = choose_encoder("")
    return encode(_Collected(families)), content_type


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def process_families() -> Iterable[Metric]:
    """`process_*`: processor seconds, memory, open files and the start of this process, as Linux tells them."""
    return ProcessCollector(registry=None).collect()


def closed_connections(closed: Mapping[str, int]) -> Metric:
    """The connections that a guard has closed, by reason."""
    family = CounterMetricFamily(
        "ringkv_closed_connections",
        "Connections that were closed as they kept the process waiting, or as there were too many.",
        labels=["reason"],
    )
    for reason, count in closed.items():
        family.add_metric([reason], count)
    return family


def unauthorized(count: int) -> Metric:
    """The requests that a process has refused to answer without a token."""
    return CounterMetricFamily("ringkv_unauthorized", "Requests that named no token that counts.", value=count)


def common_families(version: str, dataset_id: str | None, loop_lag: float) -> Iterator[Metric]:
    """What every process of a cluster tells; `loop_lag` is in seconds."""
    yield InfoMetricFamily("ringkv_build", "The version that runs.", {"version": version})
    if dataset_id is not None:
        yield InfoMetricFamily("ringkv_dataset", "The dataset that is served.", {"dataset": dataset_id})
    yield GaugeMetricFamily(
        "ringkv_event_loop_lag_seconds",
        "By how much a timer was late, the most in the last ten seconds.",
        value=loop_lag,
    )
