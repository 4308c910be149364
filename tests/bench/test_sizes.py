"""Values of each size are served by all, with as many bytes together."""

from pathlib import Path

import pytest

from bench import load
from bench.data import prepare
from bench.figures import Figures
from bench.peers.peer import missing
from bench.quiet import Quiet
from bench.serving import Scale
from bench.sizes import LEAST, PEERS, SIZES, by_size, measure_sizes
from tests.support.processes import short_directory

pytestmark = pytest.mark.skipif(not load.installed(), reason="needs wrk")

PAIRS = 10_000


def test_values_of_each_size_are_measured_with_all_peers(tmp_path: Path) -> None:
    figures = Figures()
    with short_directory() as folder:
        measure_sizes(tmp_path, PAIRS, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    subjects = [peer.name for peer in PEERS if not missing(peer)]
    for size in SIZES:
        for subject in subjects:
            assert (figures.median(subject, "sizes rate", size) or 0) > 100
            assert figures.median(subject, "sizes failed", size) == 0
    assert [row[2] for row in by_size(figures)[1:]] == subjects * len(SIZES)
    assert [row[1] for row in by_size(figures)[1 :: len(subjects)]] == ["10,000", "585", f"{LEAST}"]
    large = prepare(tmp_path, LEAST, SIZES[-1])
    assert {len(value) for _, value in large.first(LEAST)[3:]} == {SIZES[-1]}
