"""Changes that are meant: shards and routers that come, go, and are restarted; and shards that must not come."""

import re
from pathlib import Path

from tests.chaos.cluster import Cluster, wait_until
from tests.chaos.conftest import Data, Report, make_data
from tests.chaos.run import Scale, under_load

MOVED = re.compile(r"([\d,]+) partitions change owner, at least ([\d,]+) have to")


def test_adding_and_removing_shards_fails_no_request_and_moves_little(
    scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    every = [f"shard-{number}" for number in range(1, 6)]
    with Cluster(tmp_path, data.packed, spare=every[3:]) as cluster, under_load(cluster, data.text, scale) as run:
        for count in (5, 2, 4):
            before, now = len(cluster.names), every[:count]
            run.mark(f"{before} → {count} shards")
            for name in now[before:]:
                cluster.shards[name].start()
            leaving = [cluster.shards[name] for name in every[count:before]]
            for shard in leaving:
                shard.tell_to_leave()
            assert [shard.ended() for shard in leaving] == [0] * len(leaving)
            cluster.wait_until_serving(now)
            run.mark(f"{count} shards serve")
            cluster.names = now
        changes = [tuple(int(n.replace(",", "")) for n in found) for found in MOVED.findall(cluster.router.logged())]
    ratios = [moved / least for moved, least in changes]
    note = "moved " + ", ".join(f"{ratio:.2f}" for ratio in ratios) + " x the least"
    report("scale", "shards added and removed: 3 → 5 → 2 → 4, R=1", run, note=note)
    assert len(changes) >= 3
    assert 1 <= min(ratios) <= max(ratios) <= 1.15


def test_a_rolling_restart_of_the_shards_fails_no_request(
    scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    with Cluster(tmp_path, data.packed) as cluster, under_load(cluster, data.text, scale) as run:
        for name in cluster.names[: scale.victims]:
            run.mark(f"SIGTERM {name}")
            assert cluster.shards[name].leave() == 0
            cluster.shards[name].start()
            cluster.wait_until_serving(cluster.names)
            run.mark(f"{name} is back")
    report("rolling", "rolling restart of all shards, R=1", run)


def test_restarting_one_of_two_routers_fails_no_request(
    scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    with Cluster(tmp_path, data.packed, routers=2) as cluster, under_load(cluster, data.text, scale) as run:
        restarted = cluster.routers[1]
        for _ in range(scale.victims):
            run.mark("SIGTERM router-2")
            assert restarted.leave() == 0
            restarted.start()
            wait_until(lambda: restarted.get("/readyz")[0] == 200, "router-2 is ready")
            run.mark("router-2 is back")
            run.pause(scale.quiet)
    note = f"{run.result.retried} requests sent again to the other router"
    report("router", "restart of one of two routers, R=1", run, note=note)


def test_strangers_and_doubles_are_kept_out(scale: Scale, data: Data, tmp_path: Path, report: Report) -> None:
    other = make_data(1_000, seed=8)
    with (
        Cluster(tmp_path, data.packed, spare=["stranger", "double"]) as cluster,
        under_load(cluster, data.text, scale) as run,
    ):
        router = cluster.router
        epoch = router.ring()["epoch"]
        stranger = cluster.shard("stranger", other.packed)
        double = cluster.shard("shard-1", data.packed, at="double")
        try:
            run.mark("a shard of another dataset")
            stranger.start()
            router.wait_for_log("is kept out: it serves dataset")
            run.mark("a second shard-1")
            double.start()
            router.wait_for_log("is kept out: the name shard-1 is taken by")
            run.pause(scale.hold / 5)
            assert router.serving() == set(cluster.names)
            assert router.ring()["epoch"] == epoch
        finally:
            for process in (stranger, double):
                if process.running is not None:
                    process.kill()
    report("kept-out", "a shard of another dataset and one of a taken name", run)
