"""The Redis port's benchmark: its client counts values, and its figures are those of both ways."""

import pytest

from bench import load
from bench.data import Data
from bench.figures import Figures
from bench.quiet import Quiet
from bench.redis import CONNECTIONS, HTTP, REDIS_PORT, pipeline
from bench.serving import Scale
from tests.support.processes import short_directory


@pytest.mark.skipif(not load.installed(), reason="needs wrk")
def test_pipelines_are_measured_beside_http(tiny: Data) -> None:
    figures = Figures()
    with short_directory() as folder:
        pipeline(tiny, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    for subject in (HTTP, REDIS_PORT):
        assert (figures.median(subject, "port rate", CONNECTIONS) or 0) > 100
        assert figures.median(subject, "port failed", CONNECTIONS) == 0
        assert 0 < (figures.median(subject, "port p50", CONNECTIONS) or 0) < 1
