"""Shards asked directly, beside others: each node is asked for what it owns, and what is no value is counted."""

import json
import subprocess
from pathlib import Path

import pytest

from bench import direct, load
from bench.client import compiled
from bench.data import Data
from bench.direct import QUANTITIES, REDIS_CLUSTER, SHARDS
from bench.figures import Figures
from bench.quiet import Quiet
from bench.redis import CONNECTIONS, DEPTH, HTTP
from bench.report import report
from bench.serving import Scale
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, short_directory

pytestmark = pytest.mark.skipif(
    not load.installed() or bool(direct.missing()), reason=f"needs wrk and {', '.join(direct.NEEDS.values())}"
)


def test_shards_are_measured_beside_a_redis_cluster_and_their_router(tiny: Data, tmp_path: Path) -> None:
    figures = Figures()
    with short_directory() as folder:
        direct.direct(tiny, Scale(rounds=1, seconds=1), folder, Quiet(0), figures)
    for subject, depths in ((SHARDS, (1, DEPTH)), (REDIS_CLUSTER, (1, DEPTH)), (HTTP, (1,))):
        for depth in depths:
            assert (figures.median(subject, f"{QUANTITIES[depth]} rate", CONNECTIONS) or 0) > 100
            assert figures.median(subject, f"{QUANTITIES[depth]} failed", CONNECTIONS) == 0
        assert 0 < (figures.median(subject, "direct p50", 1) or 0) < 1
    report(figures, tmp_path)
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert f"| {SHARDS} | {CONNECTIONS} | {DEPTH} |" in text
    assert "](bench/direct.svg)" in text


def test_what_is_no_value_is_counted(spawn: Spawner, tmp_path: Path) -> None:
    port = spawn.up(EXAMPLE, "--shards", "1", "--cluster-port", "0").node_port
    keys = tmp_path / "keys"
    keys.write_bytes(b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05\n00000000-0000-4000-8000-000000000000\n")
    client = compiled("direct", tmp_path)
    done = subprocess.run([client, "2", "4", "0.3", "1", str(port), keys], capture_output=True, check=True, timeout=60)
    told = json.loads(done.stdout)
    assert told["requests"] / 4 < told["status"] < told["requests"]
    assert told["broken"] == 0
