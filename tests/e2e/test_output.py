"""What a command prints may have no room, no encoding, or nobody to read it: no other answer comes of that."""

import sys
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import SpawnedCluster, Spawner, one_line

KEY = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

COMMANDS = (
    "pack DATA",
    "verify SET",
    "cache",
    "publish DATA CATALOG",
    "versions CATALOG",
    "versions CATALOG --json",
    "diff SET SET",
    "plan --shards 3",
    "plan --shards 3 --json",
    "stats --once --interval 0.1",
    "stats --json --interval 0.1",
    "explain KEY",
    "explain KEY --json",
)


@pytest.fixture(scope="module")
def cluster(module_spawn: Spawner) -> SpawnedCluster:
    return module_spawn.up(EXAMPLE)


@pytest.fixture(scope="module")
def named(module_spawn: Spawner) -> dict[str, str]:
    folder = module_spawn.directory()
    names = {"DATA": str(EXAMPLE), "SET": f"{folder}/set", "CATALOG": f"{folder}/catalog", "KEY": KEY}
    assert module_spawn("pack", EXAMPLE, names["SET"]).wait() == 0
    assert module_spawn("publish", EXAMPLE, names["CATALOG"]).wait() == 0
    return names


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, named: dict[str, str], cluster: SpawnedCluster) -> list[str]:
    words = [named.get(word, word) for word in request.param.split()]
    asks = words[0] in {"stats", "explain"}
    return ["-m", "ringkv", *words, *(["--url", f"http://{cluster.host}:{cluster.port}"] if asks else [])]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_without_room_is_one_line(spawn: Spawner, command: list[str]) -> None:
    spawned = spawn.run("bash", "-c", 'exec "$@" >/dev/full', "bash", sys.executable, *command)
    # 1 would be the answer that the dataset does not hold the key.
    line = one_line(spawned, 2 if "explain" in command else 1)
    assert line == "Error: standard output: No space left on device"


def test_an_output_that_nobody_reads_ends_a_command_without_a_word(spawn: Spawner, command: list[str]) -> None:
    closed = 'mkfifo "$0"; exec 3<>"$0" 4>"$0" 3>&-; exec "$@" >&4'  # nobody has it open for reading any more
    spawned = spawn.run("bash", "-c", closed, f"{spawn.directory()}/pipe", sys.executable, *command)
    assert (spawned.wait(), spawned.err) == (141, "")


def test_a_plan_needs_no_output(spawn: Spawner) -> None:
    spawned = spawn.run("bash", "-c", 'exec "$@" >&-', "bash", sys.executable, "-m", "ringkv", "plan", "--shards", "3")
    assert (spawned.wait(), spawned.err) == (0, "")


def test_a_name_that_no_encoding_has_does_not_end_a_command_whose_work_is_done(spawn: Spawner) -> None:
    """As in a locale of UTF-8 other than C.UTF-8; the name is of bytes that are none."""
    catalog = f"{spawn.directory()}/caf\udce9"
    spawned = spawn("publish", EXAMPLE, catalog, env={"PYTHONIOENCODING": "utf-8:strict"})
    assert (spawned.wait(), spawned.err) == (0, "")
    assert r"caf\udce9 serves version 1" in spawned.out


def test_a_plan_needs_no_unicode(spawn: Spawner) -> None:
    spawned = spawn("plan", "--shards", "3..4", env={"PYTHONIOENCODING": "latin-1:strict"})
    assert (spawned.wait(), spawned.err) == (0, "")
    assert r"3 \u2192 4" in spawned.out
