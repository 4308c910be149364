"""Shards that die, hang, or can no longer be reached."""

import time
from pathlib import Path

import pytest

from ringkv.router.policy import FLAP_UPTIME
from tests.chaos import network
from tests.chaos.cluster import Cluster, wait_until
from tests.chaos.conftest import Data, Report
from tests.chaos.measured import Outcome
from tests.chaos.network import Network
from tests.chaos.run import Run, Scale, under_load

DEADLINE = 5.0
"""What the router promises: a request that cannot be answered is refused after so many seconds."""


def come_back(cluster: Cluster, run: Run, name: str) -> float:
    """When it was back."""
    cluster.shards[name].start()
    cluster.wait_until_serving(cluster.names)
    return run.mark(f"{name} is back")


@pytest.mark.parametrize(("replicas", "longest"), [(1, 0.5), (2, 0.2)])
def test_killing_each_shard_in_turn_fails_no_request(
    replicas: int, longest: float, *, scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    with Cluster(tmp_path, data.packed, replicas=replicas) as cluster, under_load(cluster, data.text, scale) as run:
        back = dict.fromkeys(cluster.names, 0.0)
        for _ in range(scale.rounds):
            for name in cluster.names[: scale.victims]:
                # One that is lost again sooner would be kept out for up to half a minute: that is another scenario.
                run.pause(max(0.0, back[name] + FLAP_UPTIME - time.monotonic()))
                run.mark(f"kill -9 {name}")
                cluster.shards[name].kill()
                cluster.wait_until_missed(name)
                back[name] = come_back(cluster, run, name)
    times = f"{scale.rounds} times" if scale.rounds > 1 else "once"
    report(f"kill-{replicas}", f"kill -9 of each shard in turn, {times}, R={replicas}", run, longest)


@pytest.mark.parametrize(("replicas", "longest"), [(1, 2.0), (2, 0.2)])
def test_a_shard_that_hangs_fails_no_request(
    replicas: int, longest: float, *, scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    with Cluster(tmp_path, data.packed, replicas=replicas) as cluster, under_load(cluster, data.text, scale) as run:
        shard = cluster.shards["shard-2"]
        run.mark("SIGSTOP shard-2")
        shard.suspend()
        run.pause(scale.hold)
        cluster.wait_until_missed("shard-2")
        run.mark("SIGCONT shard-2")
        shard.resume()
        cluster.wait_until_serving(cluster.names)
        run.mark("shard-2 is back")
    report(f"hang-{replicas}", f"SIGSTOP of a shard for {scale.hold:.0f} s, R={replicas}", run, longest)


@pytest.mark.skipif(not network.usable(), reason="needs root, iproute2 and iptables for network namespaces")
def test_a_shard_that_is_cut_off_fails_no_request(scale: Scale, data: Data, tmp_path: Path, report: Report) -> None:
    names = [f"shard-{number}" for number in range(1, 4)]
    with (
        Network(names) as net,
        net.entered(),
        Cluster(tmp_path, data.packed, replicas=2, places=net.places) as cluster,
        under_load(cluster, data.text, scale) as run,
    ):
        for name in cluster.names[: scale.victims]:
            run.mark(f"{name} is cut off")
            net.cut_off(name)
            cluster.wait_until_missed(name)
            run.pause(scale.hold / 2)
            net.reconnect(name)
            cluster.wait_until_serving(cluster.names)
            run.mark(f"{name} is back")
    report("cut-off", "each shard cut off by dropped packets in turn, R=2", run)


def test_when_all_shards_are_gone_requests_are_refused_and_then_served_again(
    scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    # An open loop needs a connection for each request that waits until its deadline.
    most = int(1.2 * DEADLINE * scale.rate)
    with (
        Cluster(tmp_path, data.packed, connections=2 * most) as cluster,
        under_load(cluster, data.text, scale, most) as run,
    ):
        router = cluster.router
        pid, before = router.pid, router.resident
        run.mark("all shards killed")
        for shard in cluster.shards.values():
            shard.kill()
        wait_until(lambda: router.get("/readyz")[0] == 503, "the router is not ready")
        noticed = time.monotonic()
        run.pause(DEADLINE + scale.quiet)
        run.pause(scale.hold if scale.full else 0)
        filled = router.resident
        run.pause(scale.hold if scale.full else 0.5)
        kept = router.resident
        assert router.get("/readyz")[0] == 503
        for shard in cluster.shards.values():
            shard.start()
        cluster.wait_until_serving(cluster.names)
        back = run.mark("all are back")
        assert router.get("/readyz")[0] == 200
        assert router.pid == pid
        run.pause(scale.quiet)
    measured = run.result
    note = f"router memory {before >> 20} → {filled >> 20} → {kept >> 20} MB"
    report("all-gone", "all shards gone, then back, R=1", run, note=note, outage=True)
    refused = measured.between(noticed, noticed + 0.2)
    assert refused.count(Outcome.UNAVAILABLE) == refused.requests
    assert refused.latency.min() >= DEADLINE - 0.1
    assert measured.between(back, time.monotonic()).failed == 0
    assert kept < 1.1 * filled
