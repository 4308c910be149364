"""Versions that are published and rolled back while clients read, also while shards are lost and come."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from ringkv.dataset.cache import dataset_path
from ringkv.dataset.dataset import Dataset
from tests.chaos.cluster import PATIENCE, Cluster, wait_until
from tests.chaos.conftest import BUILD, Data, Report
from tests.chaos.run import Run, Scale, under_load

VERSIONS: Final = 3
"""Different ones, which are published in turn."""

PUBLISH: Final = "publish"
SWAP: Final = "swap"
SERVED: Final = "served"


@dataclass(frozen=True, slots=True)
class Versions:
    """A catalog and the datasets that are published there, by their ids: all of the same keys, each with its number."""

    catalog: Path
    packed: dict[str, Path]

    def publish(self, dataset: str) -> None:
        ringkv("publish", self.packed[dataset], self.catalog)

    def roll_back(self) -> None:
        ringkv("rollback", self.catalog)


def ringkv(*args: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", "ringkv", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class Scenario:
    """What every scenario here is made of."""

    scale: Scale
    data: Data
    versions: Versions
    folder: Path
    report: Report

    @contextmanager
    def swapping(self, cluster: Cluster) -> Iterator[Run]:
        """Load the cluster and read in all ways while the body runs."""
        text = self.data.text
        with (
            under_load(cluster, text, self.scale, versioned=True) as run,
            readers(cluster, text, self.versions.packed),
        ):
            yield run


@pytest.fixture
def scenario(data: Data, scale: Scale, tmp_path: Path, report: Report) -> Scenario:
    packed: dict[str, Path] = {}
    for number in range(1, VERSIONS + 1):
        text = BUILD / f"{scale.pairs}-v{number}.data"
        if not text.exists():
            unfinished = text.with_suffix(f".{id(text)}")
            with data.text.open("rb") as lines, unfinished.open("wb") as file:
                file.writelines(line[:37] + b"v%d " % number + line[37:] for line in lines)
            unfinished.rename(text)
        path = dataset_path(text, cache_dir=BUILD)
        with Dataset.open(path) as dataset:
            packed[dataset.manifest.dataset_id] = path
    made = Versions(tmp_path / "catalog", packed)
    made.publish(next(iter(packed)))
    return Scenario(scale, data, made, tmp_path, report)


@contextmanager
def readers(cluster: Cluster, data: Path, datasets: Iterable[str]) -> Iterator[None]:
    """Read in all ways while the body runs; then no answer may have been wrong, mixed or missing."""
    numbers, output = cluster.folder / "versions.json", cluster.folder / "mixing.json"
    numbers.write_text(json.dumps({dataset: f"v{number}" for number, dataset in enumerate(datasets, 1)}))
    command = [sys.executable, "-m", "tests.chaos.mixing", str(data)]
    command += ["--versions", str(numbers), "--output", str(output)]
    command += ["--http", cluster.router.url, "--redis", cluster.router.redis]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        try:
            assert reading.stdout is not None
            assert reading.stdout.readline()
            yield
            reading.terminate()
            assert reading.wait(PATIENCE) == 0
        finally:
            reading.kill()
    found = json.loads(output.read_text())
    assert found["faults"] == {}, found["told"]
    assert len(found["asked"]) == 5
    assert len(found["seen"]) > 1, "there was but one version to be mixed"


def wait_until_served(cluster: Cluster, dataset: str) -> None:
    wait_until(lambda: all(router.served() == dataset for router in cluster.routers), f"{dataset} is served")


@pytest.mark.parametrize("replicas", [1, 2])
def test_no_request_fails_or_is_answered_of_two_versions(scenario: Scenario, replicas: int) -> None:
    versions = scenario.versions
    datasets = list(versions.packed)
    served, following = datasets[0], cycle([*datasets[1:], datasets[0]])
    with (
        Cluster(scenario.folder, versions.catalog, replicas=replicas) as cluster,
        scenario.swapping(cluster) as run,
    ):
        for _ in range(scenario.scale.rounds):
            for _ in range(3):
                before, served = served, next(following)
                run.mark(PUBLISH)
                versions.publish(served)
                run.mark(SWAP)
                wait_until_served(cluster, served)
                run.mark(SERVED)
                run.pause(scenario.scale.quiet)
            run.mark(SWAP)
            versions.roll_back()
            wait_until_served(cluster, before)
            run.mark(SERVED)
            run.pause(scenario.scale.quiet)
            served = before
            following = cycle([each for each in datasets if each != served] + [served])
    during, otherwise = (p99(run, what) for what in (SWAP, SERVED))
    title = f"versions published and rolled back, R={replicas}"
    note = f"p99 {1e3 * during:.1f} ms from a swap until all is served, {1e3 * otherwise:.1f} ms otherwise"
    scenario.report(f"versions-{replicas}", title, run, longest=0.05, note=note)
    if scenario.scale.full:
        assert during <= 1.5 * otherwise


def p99(run: Run, what: str) -> float:
    """Of the requests that were due between a mark of this kind and the next one, whatever that is; in seconds."""
    spans = [(mark.at, after.at) for mark, after in pairwise(run.marks) if mark.what == what]
    return float(np.percentile(np.concatenate([run.result.between(*span).latency for span in spans]), 99))


def kill(cluster: Cluster) -> None:
    """And start it again."""
    cluster.shards["shard-2"].kill()
    cluster.shards["shard-2"].start()


def hang(cluster: Cluster) -> None:
    cluster.shards["shard-2"].suspend()
    cluster.wait_until_missed("shard-2")
    cluster.shards["shard-2"].resume()


def add(cluster: Cluster) -> None:
    cluster.shards["shard-4"].start()
    cluster.names = [*cluster.names, "shard-4"]


def remove(cluster: Cluster) -> None:
    assert cluster.shards["shard-3"].leave() == 0
    cluster.names = [name for name in cluster.names if name != "shard-3"]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("happens", [kill, hang, add, remove])
def test_a_swap_that_is_disturbed_fails_no_request_and_ends_with_one_version(
    scenario: Scenario, happens: Callable[[Cluster], None], replicas: int
) -> None:
    versions, name = scenario.versions, happens.__name__
    with (
        Cluster(scenario.folder, versions.catalog, replicas=replicas, spare=["shard-4"]) as cluster,
        scenario.swapping(cluster) as run,
    ):
        for dataset in list(versions.packed)[1:]:
            run.mark(f"publish, and {name}")
            versions.publish(dataset)
            happens(cluster)
            wait_until_served(cluster, dataset)
            cluster.wait_until_serving(cluster.names)
            run.mark("one version everywhere")
            run.pause(scenario.scale.quiet)  # in which the readers see it too
            if happens in {add, remove}:
                break
    scenario.report(f"versions-{name}-{replicas}", f"{name} a shard in the middle of a swap, R={replicas}", run)
