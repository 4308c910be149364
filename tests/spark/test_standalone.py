"""A cluster of Spark's own, a master and two workers on this machine, packs what one machine packs, also if it is hurt.

How many pairs: $PAIRS, by default a million. The times are printed: both workers and packing here have the same cores.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pyspark
import pytest

from ringkv.dataset.catalog import Catalog
from ringkv.dataset.generate import lines
from ringkv.dataset.packing.local import pack
from ringkv.dataset.verify import damages
from tests.support.processes import Spawned, Spawner, wait_for

LONG: Final = 3600.0

CLASS: Final = Path(pyspark.__file__).parent / "bin" / "spark-class"

pytestmark = [pytest.mark.spark, pytest.mark.timeout(2 * LONG)]


class SparkCluster(NamedTuple):
    master: str
    workers: list[Spawned]


class Data(NamedTuple):
    path: Path
    dataset: str


@pytest.fixture
def cluster(spawn: Spawner) -> SparkCluster:
    env = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "127.0.0.1"}
    ports = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    master = spawn.run(CLASS, "org.apache.spark.deploy.master.Master", *ports, env=env)
    address = master.wait_for_line(r"Starting Spark master at (spark://\S+)")[1]
    size = ("--cores", "1", "--memory", "1g")
    workers = []
    for _ in range(2):
        folder = spawn.directory()
        own = env | {"SPARK_LOCAL_DIRS": str(folder / "local")}
        name = "org.apache.spark.deploy.worker.Worker"
        workers.append(spawn.run(CLASS, name, *ports, *size, "--work-dir", folder, address, env=own))
    for worker in workers:
        worker.wait_for_line("Successfully registered with master")
    return SparkCluster(address, workers)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    pairs = int(os.environ.get("PAIRS", "1M").replace("M", "000000"))
    folder = tmp_path_factory.mktemp("standalone")
    with (folder / "data").open("wb") as file:
        file.writelines(lines(pairs, 7))
    begin = time.monotonic()
    dataset = pack(folder / "data", folder / "packed").dataset_id
    told(f"{pairs:,} pairs: packed here", begin)
    return Data(folder / "data", dataset)


@pytest.fixture
def publish(cluster: SparkCluster, data: Data, spawn: Spawner, tmp_path: Path) -> Iterator[Callable[[], Spawned]]:
    """Starts to publish the data. When it is done, every byte is checked, and that nothing else is left."""
    catalog = Catalog.at(tmp_path / "catalog")
    started: list[Spawned] = []

    def start() -> Spawned:
        env = {"SPARK_LOCAL_IP": "127.0.0.1"}
        command = ("-m", "ringkv", "publish", "--spark", cluster.master, data.path, catalog.location)
        started.append(spawn.run(sys.executable, *command, env=env))
        return started[0]

    yield start
    assert started[0].wait(LONG) == 0, started[0].err
    current = catalog.current()
    assert current
    assert current.version.dataset == data.dataset
    with catalog.open(current.version.folder) as dataset:
        assert list(damages(dataset, lambda *_step: None)) == []
        assert {path.name for path in dataset.path.iterdir()} == {
            "manifest.json",
            "blocks.arrow",
            "partitions.arrow",
            *(entry.name for entry in dataset.manifest.segments),
        }
    assert {listed.name.partition("/")[0] for listed in catalog.objects.list()} == {
        "current.json",
        current.version.folder,
    }


def told(what: str, begin: float) -> None:
    sys.stdout.write(f"\n{what} in {time.monotonic() - begin:.1f} s\n")


def test_two_workers_make_the_dataset(publish: Callable[[], Spawned]) -> None:
    begin = time.monotonic()
    spawned = publish()
    assert spawned.wait(LONG) == 0, spawned.err
    told("published on two workers, from the command to its end,", begin)


def test_a_worker_that_is_killed_while_it_merges_changes_nothing(
    publish: Callable[[], Spawned], cluster: SparkCluster, tmp_path: Path
) -> None:
    begin = time.monotonic()
    spawned = publish()

    def merging() -> bool:
        assert spawned.process.poll() is None, spawned.err
        return any(re.search(r"/\d{5}-[0-9a-f]{16}\.arrow$", str(path)) for path in tmp_path.rglob("*.arrow"))

    wait_for(merging, patience=LONG)
    cluster.workers[0].end()
    told("a worker was killed", begin)
    assert spawned.wait(LONG) == 0, spawned.err
    told("published by the other one", begin)
