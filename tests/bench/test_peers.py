"""Every peer that is installed answers with the right bytes, is measured, and leaves nothing behind."""

from pathlib import Path

import pytest

from bench import load
from bench.data import Data
from bench.figures import Figures
from bench.peers.all import PEERS
from bench.peers.ketama import Ketama
from bench.peers.nginx import SecuredNginxMemcached
from bench.peers.peer import Peer, missing
from bench.peers.ringkv import Ringkv, SecuredRingkv
from bench.processes import Processes
from bench.quiet import Quiet
from bench.serving import Scale, check, serve
from bench.usage import cpu_seconds, descendants, memory
from tests.support.processes import short_directory, wait_for


@pytest.mark.parametrize("peer", [*PEERS, SecuredRingkv(), SecuredNginxMemcached()], ids=lambda peer: peer.name)
def test_a_peer_answers_with_the_values_and_ends_with_the_benchmark(peer: Peer, tiny: Data) -> None:
    if packages := missing(peer):
        pytest.skip(f"needs {', '.join(packages)}")
    with short_directory() as folder:
        with Processes(folder) as processes:
            check(peer, peer.start(tiny, processes), tiny)
            pids = processes.pids()
            assert set(processes.roots()) <= set(pids)
            assert cpu_seconds(pids) >= 0
            assert memory(pids).pss > memory(pids).anonymous_share > 0
        wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], f"{peer.name} is still there")


@pytest.mark.skipif(not load.installed(), reason="needs wrk")
def test_a_measurement_counts_requests_and_what_they_cost(tiny: Data) -> None:
    figures = Figures()
    with short_directory() as folder:
        serve((Ringkv(),), tiny, Scale(rounds=1, seconds=1, connections=(4,)), folder, Quiet(0), figures)
    assert figures.points("ringkv", "rate") == [4]
    assert (figures.median("ringkv", "rate", 4) or 0) > 100
    assert figures.median("ringkv", "failed", 4) == 0
    assert 0 < (figures.median("ringkv", "p50", 4) or 0) <= (figures.median("ringkv", "p99", 4) or 0) < 1
    assert 0 < (figures.median("ringkv", "cpu", 4) or 0) < 0.1


def test_a_peer_that_is_not_installed_is_named_with_its_package(
    tiny: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.peers.peer.program_path", lambda _program: None)
    for peer in PEERS:
        assert bool(missing(peer)) == bool(peer.needs)
    figures = Figures()
    needy = tuple(peer for peer in PEERS if peer.needs)
    serve(needy, tiny, Scale(1, 1), tmp_path, Quiet(0), figures)
    assert set(figures.missing) == {peer.name for peer in needy}
    assert figures.missing["HAProxy + 3 shards"] == ["haproxy"]


def test_the_ring_of_nginx_is_spread_over_all_servers() -> None:
    ring = Ketama([Path(f"/tmp/memcached-{number}.sock") for number in range(3)])
    counts = [0, 0, 0]
    for number in range(3000):
        counts[ring.server(b"/%d" % number)] += 1
    assert min(counts) > 500


def test_descendants_of_a_process_that_is_gone_are_none() -> None:
    assert descendants([2**22 + 1]) == []
