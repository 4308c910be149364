"""Another data file under a cluster that serves: what is served goes on until the new one is packed and asked for."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.load import unharmed
from tests.compose.project import Project
from tests.support.data import EXAMPLE
from tests.support.processes import wait_for

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(900)]

NEW_KEY = "aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa"


@pytest.fixture
def data(cluster: Project, tmp_path: Path) -> Iterator[Path]:
    """A copy of the example that is served in its place."""
    path = tmp_path / "example.data"
    path.write_bytes(EXAMPLE.read_bytes())
    cluster.variables = {"DATA": str(path)}
    cluster.up()
    cluster.restart_one_by_one()  # whatever an earlier test has left to be served
    cluster.wait_until_serving(1, 2, 3)
    yield path
    cluster.variables = {}
    cluster.up()
    cluster.restart_one_by_one()


def processes(cluster: Project) -> list[tuple[str, int]]:
    """The shards' containers and processes: whoever is replaced or restarted is another one."""
    return [(shard["Id"], shard["State"]["Pid"]) for shard in cluster.inspect("shard")]


def put(path: Path, content: bytes) -> None:
    """Under the same name, as whoever delivers a file does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


@pytest.mark.parametrize("way", ["in its place", "another DATA", "missing"])
def test_a_bad_new_file_takes_nothing_down(cluster: Project, data: Path, tmp_path: Path, way: str) -> None:
    before, port = processes(cluster), cluster.port()
    bad = data if way == "in its place" else tmp_path / "bad.data"
    if way != "missing":
        put(bad, b"no key\n")
    cluster.variables["DATA"] = str(bad)
    refused = pytest.raises(AssertionError, match=r"pack|bind source path does not exist")
    with unharmed(port, tmp_path, f"a bad file, {way}"), refused:
        cluster.up()
    assert processes(cluster) == before
    if way != "missing":
        assert "/data/source:1: not a UUID version 4: 'no'" in cluster.compose("logs", "--tail", "1", "pack")


def test_a_new_file_is_told_of_and_served_after_a_rolling_restart(cluster: Project, data: Path, tmp_path: Path) -> None:
    before, port = processes(cluster), cluster.port()
    served = cluster.ring(port)["dataset"]
    put(data, EXAMPLE.read_bytes() + f"{NEW_KEY} new\n".encode())
    with unharmed(port, tmp_path, "packed"):
        cluster.up()
    assert processes(cluster) == before
    assert cluster.ring(port)["dataset"] == served
    assert "This is new. Shards that run serve what they have" in cluster.compose("logs", "--tail", "3", "pack")
    told = f"serves dataset {served}, but /packed/dataset is now dataset "
    wait_for(lambda: cluster.compose("logs", "--tail", "3", "shard").count(told) == len(before), "not told by each")

    with unharmed(port, tmp_path, "gone over"):
        assert cluster.restart_one_by_one().splitlines() == [f"{cluster.name}-shard-{n} is back" for n in (1, 2, 3)]
        cluster.wait_until_serving(1, 2, 3, port=port)
    assert cluster.ring(port)["dataset"] != served
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{NEW_KEY}", timeout=20) as response:
        assert response.read() == b"new"
