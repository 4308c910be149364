"""`ringkv up` follows its data: what comes to stand under their names is the next version, or changes nothing."""

import asyncio
import json
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_lifecycle import get, ring, shard_pids
from tests.support.damage import copy_dataset
from tests.support.data import read_pairs
from tests.support.http import ask_for_all
from tests.support.processes import SpawnedCluster, Spawner, wait_for

Generated = Callable[..., tuple[Path, Path]]
PAIRS = 5000
NEW_KEY = "aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa"


def put(path: Path, content: bytes) -> None:
    """Under the same name, as whoever delivers a file does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def with_another_key(text: Path) -> bytes:
    return text.read_bytes() + b"%b new\n" % NEW_KEY.encode()


def half(text: Path) -> bytes:
    lines = text.read_bytes().split(b"\n")  # not splitlines: values may have other line ends in them
    return b"".join(b"%b\n" % line for line in lines[: len(lines) // 2])


def versions(cluster: SpawnedCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(cluster, "versions"))
    return found


def wait_until_served(cluster: SpawnedCluster, serial: int, keys: int) -> None:
    """Until the cluster says so itself."""
    cluster.spawned.wait_for_line(rf"(?m)^ringkv: version {serial} is served: {keys:,} keys, dataset \w{{32}}$", "out")
    assert versions(cluster)["served"]["serial"] == serial


def has_all(cluster: SpawnedCluster, text: Path) -> None:
    pairs = dict(read_pairs(text))
    assert asyncio.run(ask_for_all(cluster.host, cluster.port, pairs.items())) == (len(pairs), [])


def replace_processes(cluster: SpawnedCluster, *pids: int) -> None:
    """Kill shards, and wait until others serve in their place."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        # Right after a kill the router still has the shard in its view, and nobody listens there.
        with suppress(ConnectionError, FileNotFoundError):
            serving = [shard for shard in ring(cluster)["shards"] if shard["state"] == "serving"]
            return len(serving) == 3 and not set(pids) & {*shard_pids(cluster).values()}
        return False

    wait_for(replaced)


@pytest.fixture
def data(generated: Generated, tmp_path: Path) -> Path:
    path = tmp_path / "some.data"
    path.write_bytes(generated(PAIRS)[0].read_bytes())
    return path


def test_a_file_that_was_renamed_to_the_name_is_served_by_the_same_processes(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)
    before = shard_pids(cluster)
    put(data, with_another_key(data))
    wait_until_served(cluster, 2, PAIRS + 1)
    assert get(cluster, NEW_KEY) == b"new"
    has_all(cluster, data)
    assert shard_pids(cluster) == before
    replace_processes(cluster, before["shard-2"])
    has_all(cluster, data)
    assert versions(cluster)["served"]["serial"] == 2


def test_a_symlink_that_is_switched_to_another_dataset_is_followed(
    spawn: Spawner, generated: Generated, tmp_path: Path
) -> None:
    first = copy_dataset(generated(PAIRS)[1], tmp_path / "1")
    second = copy_dataset(generated(PAIRS + 1)[1], tmp_path / "2")
    (tmp_path / "current").symlink_to(first)
    cluster = spawn.up(tmp_path / "current", "--gate", "100%")
    (tmp_path / "next").symlink_to(second)
    (tmp_path / "next").replace(tmp_path / "current")
    wait_until_served(cluster, 2, PAIRS + 1)
    has_all(cluster, generated(PAIRS + 1)[0])


def test_what_is_written_in_place_is_served_when_sighup_says_that_it_is_whole(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)
    with data.open("ab") as file:
        file.write(b"%b new\n" % NEW_KEY.encode())
    cluster.spawned.wait_for_line(rf"{data}: has changed in place; SIGHUP lets it be served")
    assert versions(cluster)["served"]["serial"] == 1
    cluster.spawned.process.send_signal(signal.SIGHUP)
    wait_until_served(cluster, 2, PAIRS + 1)
    assert get(cluster, NEW_KEY) == b"new"


def test_a_bad_file_changes_nothing_and_says_why_in_one_line(spawn: Spawner, data: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(data.read_bytes())
    cluster = spawn.up(data)
    put(data, b"no key\n")
    cluster.spawned.wait_for_line(r"not a UUID version 4: 'no' .*; what is served stays as it is")
    assert versions(cluster)["served"]["serial"] == 1
    has_all(cluster, good)
    put(data, with_another_key(good))
    wait_until_served(cluster, 2, PAIRS + 1)
    (line,) = (line for line in cluster.spawned.err.splitlines() if str(data) in line)
    assert "Traceback" not in line


def test_a_file_that_is_gone_changes_nothing(spawn: Spawner, data: Path, tmp_path: Path) -> None:
    cluster = spawn.up(data)
    away = data.rename(tmp_path / "away")
    cluster.spawned.process.send_signal(signal.SIGHUP)
    cluster.spawned.wait_for_line(rf"{data}: .*; what is served stays as it is")
    has_all(cluster, away)


def test_a_file_that_was_cut_off_is_not_served(spawn: Spawner, data: Path, generated: Generated) -> None:
    cluster = spawn.up(data)
    put(data, half(data))
    cluster.spawned.wait_for_line(r"of the keys that are served .* are gone")
    assert versions(cluster)["served"]["serial"] == 1
    has_all(cluster, generated(PAIRS)[0])


def test_who_lets_keys_vanish_can_say_so(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data, "--gate", "100%")
    put(data, half(data))
    wait_until_served(cluster, 2, data.read_bytes().count(b"\n"))
    has_all(cluster, data)


def test_without_following_the_first_version_stays(spawn: Spawner, data: Path, generated: Generated) -> None:
    cluster = spawn.up(data, "--no-follow")
    put(data, with_another_key(data))
    replace_processes(cluster, *shard_pids(cluster).values())
    assert versions(cluster)["served"]["serial"] == 1
    has_all(cluster, generated(PAIRS)[0])


def test_a_version_that_could_not_be_made_current_is_taken_when_asked_again(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)
    (folder,) = cluster.spawned.runtime.glob("ringkv-*/versions")
    lock = folder / ".current.json.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # as good as a disk without room
    put(data, with_another_key(data))
    cluster.spawned.wait_for_line(rf"{folder}/.*; what is served stays as it is")
    assert versions(cluster)["served"]["serial"] == 1
    lock.rmdir()
    cluster.spawned.process.send_signal(signal.SIGHUP)
    wait_until_served(cluster, 2, PAIRS + 1)
    assert get(cluster, NEW_KEY) == b"new"


def test_a_cluster_that_can_start_no_process_goes_on_and_starts_it_later(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)
    (sockets,) = cluster.spawned.runtime.glob("pymp-*")
    away = sockets.rename(cluster.spawned.folder / "away")
    put(data, with_another_key(data))
    cluster.spawned.wait_for_line(rf"{data}: no process can be started to pack it: .*; what is served stays as it is")
    os.kill(shard_pids(cluster)["shard-1"], signal.SIGKILL)
    cluster.spawned.wait_for_line(r"ERROR   ringkv.supervisor: shard-1 cannot be started: .*; the next try is in")
    away.rename(sockets)
    wait_for(lambda: [shard["state"] for shard in ring(cluster)["shards"]] == 3 * ["serving"])
    cluster.spawned.process.send_signal(signal.SIGHUP)
    wait_until_served(cluster, 2, PAIRS + 1)
    assert "Traceback" not in cluster.spawned.err


def test_a_cluster_that_can_open_no_file_goes_on_and_packs_when_asked_again(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)
    pid = cluster.spawned.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, before[1]))
    put(data, with_another_key(data))
    cluster.spawned.wait_for_line(
        rf"{data}: no process can be started to pack it: Too many open files; what is served stays as it is"
    )
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    cluster.spawned.process.send_signal(signal.SIGHUP)
    wait_until_served(cluster, 2, PAIRS + 1)
    assert "Traceback" not in cluster.spawned.err


def test_ten_versions_leave_no_file_and_no_process_behind(spawn: Spawner, data: Path) -> None:
    cluster = spawn.up(data)

    def held() -> tuple[int, int]:
        return len(cluster.spawned.living()), len(list(Path(f"/proc/{cluster.spawned.pid}/fd").iterdir()))

    before, text = None, data.read_bytes()
    for serial in range(2, 12):
        put(data, text + b"%b %d\n" % (NEW_KEY.encode(), serial))
        cluster.spawned.process.send_signal(signal.SIGHUP)  # look at once
        wait_until_served(cluster, serial, PAIRS + 1)
        assert get(cluster, NEW_KEY) == b"%d" % serial
        before = before or held()  # two versions are open from here on
    assert held() == before


def test_who_reads_only_the_first_line_ends_nothing(spawn: Spawner, data: Path) -> None:
    """As `ringkv up DATA | head -1` does, whose pipe is closed when the next version is told."""
    first = spawn.directory() / "first"
    piped = f'"$@" 1> >(head -1 > {first}) & echo $! > {first}.pid; wait $!; echo $? > {first}.code'
    ringkv = (sys.executable, "-m", "ringkv", "up", data, "--port", "0", "--shards", "2")
    spawned = spawn.run("bash", "-c", piped, "bash", *ringkv)
    wait_for(lambda: first.exists() and first.read_text(), "no first line")
    host, port = re.findall(r"http://([\d.]+):(\d+)", first.read_text())[0]
    cluster = SpawnedCluster(spawned, host, int(port))
    put(data, with_another_key(data))
    spawned.wait_for_line(
        "WARNING ringkv.deploy: standard output: Broken pipe; not written: ringkv: version 2 is served"
    )
    assert get(cluster, NEW_KEY) == b"new"
    os.kill(int(Path(f"{first}.pid").read_text()), signal.SIGTERM)
    spawned.wait()
    assert Path(f"{first}.code").read_text() == "0\n"
    assert "Traceback" not in spawned.err


def test_a_cluster_serves_also_where_its_first_line_cannot_be_written(spawn: Spawner, data: Path) -> None:
    ringkv = (sys.executable, "-m", "ringkv", "up", data, "--port", "0")
    spawned = spawn.run("bash", "-c", 'exec "$@" >/dev/full', "bash", *ringkv)
    line = spawned.wait_for_line(r"standard output: No space left on device; not written: .* http://([\d.]+):(\d+)")
    has_all(SpawnedCluster(spawned, line[1], int(line[2])), data)
    spawned.process.terminate()
    assert spawned.wait() == 0


def test_a_link_of_before_that_cannot_be_removed_ends_nothing(spawn: Spawner, data: Path) -> None:
    """A link that somebody has removed, as they clean /tmp, or something in its place."""
    cluster = spawn.up(data)
    (folder,) = cluster.spawned.runtime.glob("ringkv-*/versions")
    text, links = data.read_bytes(), list[Path]()
    for serial in (2, 3, 4):
        links += [path for path in folder.iterdir() if path.is_symlink() and path not in links]
        oldest = links[max(0, serial - 3)]
        text += b"%08x-aaaa-4aaa-aaaa-aaaaaaaaaaaa new\n" % serial
        if serial > 2:
            oldest.unlink()
        if serial > 3:
            oldest.mkdir()
        put(data, text)
        wait_until_served(cluster, serial, PAIRS + serial - 1)
        assert get(cluster, f"{serial:08x}-aaaa-4aaa-aaaa-aaaaaaaaaaaa") == b"new"
    assert not cluster.spawned.err
