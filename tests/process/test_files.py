"""Processes open as many files as they may, say when there are too few to start with, and when they are out."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.data import EXAMPLE
from tests.support.processes import Spawned, Spawner, one_line

FEW = 80
"""More than a process needs to start, and fewer than the clients here take."""


def limited(spawn: Spawner, limit: str, *args: str | Path) -> Spawned:
    """`ringkv ARGS` after `ulimit LIMIT`."""
    return spawn.run("bash", "-c", f'ulimit {limit}; exec "$@"', "bash", sys.executable, "-m", "ringkv", *args)


@pytest.mark.parametrize("command", ["up", "shard", "router"])
def test_too_low_a_limit_is_one_line(spawn: Spawner, command: str) -> None:
    data = ["--shards", "127.0.0.1:1"] if command == "router" else [EXAMPLE]
    line = one_line(limited(spawn, "-n 20", command, *data))
    assert line.startswith("Error: this process may open only 20 files, and needs 64 and one for each client:")


def test_the_soft_limit_is_raised_to_the_hard_one_in_all_processes(spawn: Spawner) -> None:
    spawned = limited(spawn, "-Sn 90; ulimit -Hn 1000", "up", EXAMPLE, "--port", "0", "--shards", "2")
    spawn.cluster(spawned)
    serving = [Path(f"/proc/{pid}/limits").read_text() for pid in spawned.living()]
    assert len(serving) >= 4
    for limits in serving:
        (line,) = [line.split() for line in limits.splitlines() if line.startswith("Max open files")]
        assert line[3:5] == ["1000", "1000"]


def test_a_process_without_files_says_so_once_and_when_that_is_over(spawn: Spawner) -> None:
    path = f"{spawn.directory()}/s"
    shard = limited(spawn, f"-n {FEW}", "shard", EXAMPLE, "--listen", f"unix:{path}")
    shard.wait_for_line("ready on")
    with ExitStack() as clients:
        for _ in range(FEW):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
        shard.wait_for_line(f"WARNING ringkv.process: all {FEW} files that may be open are open: new connections are")
    shard.wait_for_line(r"WARNING ringkv.process: files can be opened again after \d+\.\d s")
    assert shard.err.count("that may be open are open") == 1
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
