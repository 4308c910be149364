"""Another data file under a cluster that serves: it becomes the next version, or changes nothing."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.load import unharmed
from tests.compose.project import Project
from tests.support.data import EXAMPLE, ROOT
from tests.support.processes import wait_for

pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.timeout(900)]

OPERATIONS = ROOT / "docs" / "operations.md"

NEW_KEY = "aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa"


@pytest.fixture
def data(cluster: Project, tmp_path: Path) -> Iterator[Path]:
    """A copy of the example that is served in its place."""
    path = tmp_path / "example.data"
    path.write_bytes(EXAMPLE.read_bytes())
    cluster.variables = {"DATA": str(path)}
    cluster.up()
    cluster.wait_until_serving(1, 2, 3)
    yield path
    cluster.variables = {}


def processes(cluster: Project) -> list[tuple[str, int]]:
    """All containers and processes that serve: whoever is replaced or restarted is another one."""
    return [(each["Id"], each["State"]["Pid"]) for name in ("shard", "router") for each in cluster.inspect(name)]


def put(path: Path, content: bytes) -> None:
    """Under the same name, as whoever delivers a file does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def with_another_key(value: bytes) -> bytes:
    return EXAMPLE.read_bytes() + b"%b %b\n" % (NEW_KEY.encode(), value)


def value(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{NEW_KEY}", timeout=20) as response:
        content: bytes = response.read()
    return content


@pytest.mark.parametrize("way", ["in its place", "another DATA", "missing"])
def test_a_bad_new_file_takes_nothing_down(cluster: Project, data: Path, tmp_path: Path, way: str) -> None:
    before, port = processes(cluster), cluster.port()
    bad = data if way == "in its place" else tmp_path / "bad.data"
    if way != "missing":
        put(bad, b"no key\n")
    cluster.variables["DATA"] = str(bad)
    refused = pytest.raises(AssertionError, match=r"publish|bind source path does not exist")
    with unharmed(port, tmp_path, f"a bad file, {way}"), refused:
        cluster.up()
    assert processes(cluster) == before
    if way != "missing":
        assert "/data/source:1: not a UUID version 4: 'no'" in cluster.compose("logs", "--tail", "1", "publish")


def test_settings_are_changed_whatever_has_become_of_the_data_file(cluster: Project, data: Path) -> None:
    """With the line of docs/operations.md: `publish` would fail, and what is to be replaced would not be started."""
    (line,) = re.findall(r"^docker compose (up .*--no-deps .*shard router)$", OPERATIONS.read_text(), re.MULTILINE)
    before, served = processes(cluster), cluster.ring(cluster.port())["dataset"]
    put(data, b"no key\n")
    cluster.variables |= {"RINGKV_LOG_FORMAT": "json", "RINGKV_HOT_MEMORY": "32M"}
    cluster.compose(*line.split())
    assert not {container for container, _ in before} & {container for container, _ in processes(cluster)}
    assert cluster.ring(cluster.port())["dataset"] == served


@pytest.mark.parametrize("way", ["up", "run"])
def test_a_new_file_is_served_by_the_same_processes_and_no_request_fails(
    cluster: Project, data: Path, tmp_path: Path, way: str
) -> None:
    before, port = processes(cluster), cluster.port()
    put(data, with_another_key(way.encode()))
    with unharmed(port, tmp_path, "published"):
        if way == "up":
            cluster.up()
        else:
            cluster.publish()
        # Publishing has waited for the router: nobody who publishes has to guess.
        assert value(port) == way.encode()
    assert processes(cluster) == before


def test_a_file_that_was_cut_off_is_served_only_by_force_and_can_be_rolled_back(cluster: Project, data: Path) -> None:
    port = cluster.port()
    served = cluster.ring(port)["dataset"]
    lines = EXAMPLE.read_bytes().split(b"\n")  # not splitlines: values may have other line ends in them
    put(data, b"".join(b"%b\n" % line for line in lines[: len(lines) // 2]))
    with pytest.raises(AssertionError, match=r"are gone"):
        cluster.publish()
    assert cluster.ring(port)["dataset"] == served
    cluster.variables["RINGKV_FORCE_SWAP"] = "1"
    cluster.publish()
    assert cluster.ring(port)["dataset"] != served
    del cluster.variables["RINGKV_FORCE_SWAP"]
    cluster.publish("rollback", "/packed")
    wait_for(lambda: cluster.ring(port).get("dataset") == served, "the version before does not serve")
