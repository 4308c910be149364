"""Where the secret between routers and shards comes from: a file or the environment, better than the command line."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, one_line, wait_for

WARNING = "Warning: all users can read --secret in the list of processes: use --secret-file"


def test_router_and_shard_read_it_from_a_file(spawn: Spawner, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("between us\n")
    shard = spawn.shard(EXAMPLE, "--secret-file", str(path))
    right = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--secret-file", str(path))
    right.wait_for_line("topology 1 in")
    same = spawn(
        *("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0"), env={"RINGKV_SECRET": "between us"}
    )
    same.wait_for_line("topology 1 in")
    wrong = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0")
    wrong.wait_for_line("LEASE needs AUTH first")
    for spawned in (shard.spawned, right, same, wrong):
        assert "Warning" not in spawned.err
        assert "between us" not in spawned.err


def test_a_router_does_not_begin_anew_with_a_bad_file(spawn: Spawner, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("between us\n")
    shard = spawn.shard(EXAMPLE, "--secret-file", str(path))
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--secret-file", str(path))
    router.wait_for_line("topology 1 in")
    path.write_text("")
    os.kill(router.pid, signal.SIGHUP)
    router.wait_for_line(f"no secret can be read: {path} is empty; what was read before goes on to count")
    path.write_text("between us\n")
    os.kill(router.pid, signal.SIGHUP)
    router.wait_for_line("begins anew")
    wait_for(lambda: router.err.count("topology 1 in") == 2)


def test_one_on_the_command_line_warns_and_counts(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--secret", "between us")
    router = spawn("router", "--shards", str(shard.address), "--listen", "127.0.0.1:0", "--secret", "between us")
    router.wait_for_line("topology 1 in")
    for spawned in (shard.spawned, router):
        wait_for(lambda spawned=spawned: spawned.err.startswith(f"{WARNING}\n"))  # type: ignore[misc]
        assert spawned.err.count("Warning") == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no secret can be read: {}: No such file or directory"),
        (b"\n", "no secret can be read: {} is empty"),
        (b"\xff", "no secret can be read: {}: is not UTF-8"),
    ],
)
def test_a_file_without_one_is_one_line(spawn: Spawner, tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    spawned = spawn("router", "--shards", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--secret-file", str(path))
    assert one_line(spawned) == f"Error: {problem.format(path)}"


def test_two_secrets_are_refused(spawn: Spawner, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one")
    listen = ("--listen", "127.0.0.1:0")
    spawned = spawn("shard", EXAMPLE, *listen, "--secret-file", str(path), env={"RINGKV_SECRET": "two"})
    assert one_line(spawned) == "Error: there are two secrets: leave out --secret-file, or --secret and $RINGKV_SECRET"
