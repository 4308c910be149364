"""What a process tells Prometheus, read by prometheus_client's own parsers and held to the conventions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.http import Response

OPENMETRICS: Final = "Accept: application/openmetrics-text; version=1.0.0\r\n"

UNITS: Final = {"seconds", "bytes"}
"""The base units of https://prometheus.io/docs/practices/naming/ that are used here."""

_OTHER_UNITS: Final = re.compile(
    r"_(ms|us|ns|milliseconds|microseconds|minutes|hours|kb|kilobytes|mb|megabytes|percent)"
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """`families` by name; a value is found by its sample's name and labels."""

    families: dict[str, Metric]

    @classmethod
    def parse(cls, response: Response) -> "Metrics":
        """Read either form, by its content type."""
        assert response.status == 200
        text = response.body.decode()
        openmetrics = response.headers["Content-Type"].startswith("application/openmetrics-text")
        parse: Callable[[str], Iterable[Metric]] = parse_openmetrics if openmetrics else parse_text
        found = list(parse(text))
        families = {family.name: family for family in found}
        assert len(families) == len(found)
        samples = [(sample.name, *sorted(sample.labels.items())) for family in found for sample in family.samples]
        assert len(samples) == len(set(samples))
        return cls(families)

    def __getitem__(self, name: str) -> float:
        return self.value(name)

    def value(self, name: str, **labels: str) -> float:
        (found,) = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        return found

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for family in self.families.values() for sample in family.samples if sample.name == name]


def check_conventions(metrics: Metrics) -> None:
    """Names, units and types as Prometheus' naming conventions want them, and as promtool does not check."""
    for name, family in metrics.families.items():
        assert re.fullmatch(r"(ringkv|process)_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation.endswith("."), name
        assert not _OTHER_UNITS.search(name), name
        assert family.type in {"counter", "gauge", "histogram", "info"}, name
        for unit in UNITS:
            assert unit not in name.split("_")[:-1], f"{name}: the unit comes last"
        for sample in family.samples:
            suffixes = {
                "counter": {"_total"},
                "gauge": {""},
                "histogram": {"_bucket", "_sum", "_count"},
                "info": {"_info"},
            }[family.type]
            assert sample.name.removeprefix(name) in suffixes, sample.name
        if family.type == "histogram":
            assert name.endswith("_seconds"), name
